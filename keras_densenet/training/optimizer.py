"""The paper's optimizer."""

import keras

from keras_densenet.compat.keras import variable_index


@keras.saving.register_keras_serializable("keras_densenet")
class PaperSGD(keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient, and whose momentum gathers gradients, as in (Lua) Torch.

    With gradient g, weight w, rate r and momentum u: `g += decay * w; v = u * v + g; w -= r * (g + u * v)`. Keras' own
    SGD decays beside the gradient and gathers steps, so that a lower rate takes effect late.

    Args:
        learning_rate: a float or a schedule.
        momentum: u; always Nesterov's.
        decay: of every weight it updates. (`weight_decay` would be Keras' own.)
        **kwargs: as for `keras.optimizers.SGD`.

    Source: the paper, section 4.2, and `optim.sgd` of Torch, which it was trained with.
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, decay=1e-4, name="paper_sgd", **kwargs):
        super().__init__(learning_rate, momentum, **{**kwargs, "nesterov": True}, name=name)
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate):
        gradient = keras.ops.cast(gradient, variable.dtype) + self.decay * variable
        step = gradient
        if self.momentum:
            velocity = self.momentums[variable_index(self, variable)]
            self.assign(velocity, self.momentum * velocity + gradient)
            step = gradient + self.momentum * velocity
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * step)

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}
