"""What the layers share: named weights, the paper's initialisation, batch normalisation's variables."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_densenet import ops
from keras_densenet.compat.keras import own_variables, track
from keras_densenet.layers.policy import check_policy, own_policy
from keras_densenet.types import Shape, Tensor


class Norm(NamedTuple):
    """The variables of one batch normalisation, all `(channels,)`."""

    gamma: keras.Variable
    beta: keras.Variable
    mean: keras.Variable
    variance: keras.Variable


class PaperLayer(keras.layers.Layer):
    """A layer with the paper's conventions, whose weights are saved under their names.

    A layer computes in `forward`, which gets floats; Keras' `call` also takes the integers that pixels are. Keras and
    TensorFlow both know every variable, wherever the layer keeps it.

    Args:
        momentum: of the moving statistics.
        epsilon: added to variances.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1]. Received: momentum={momentum!r}")
        if not epsilon > 0:
            raise ValueError(f"epsilon must be positive. Received: epsilon={epsilon!r}")
        self.momentum, self.epsilon = momentum, epsilon
        self.input_spec = any_image()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        training = training and inputs.shape[0] != 0  # an empty batch has no statistics
        return self.forward(keras.ops.cast(inputs, self.compute_dtype), training)

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        """What the layer computes, from inputs of its `compute_dtype`."""
        raise NotImplementedError

    def add_weight(self, *args: Any, **options: Any) -> keras.Variable:
        check_policy(own_policy(self), f"Layer {self.name!r} computes in floats: dtype")
        variable = super().add_weight(*args, **options)
        track(self, variable, variable.name)  # in lists of tuples, Keras does not tell TensorFlow
        return variable

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if isinstance(value, keras.random.SeedGenerator):  # nor of its state, which is no weight
            track(self, value.state.value, f"{name}_state", overwrite=True)

    def add_kernel(self, name: str, shape: Shape) -> keras.Variable:
        """Adds a convolution kernel `(height, width, in, out)`, drawn from N(0, sqrt(2 / (height * width * out))).

        It has as many axes in front as a signal, image or volume has.
        """
        he = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        return self.add_weight(name=name, shape=shape, initializer=he)

    def add_scale(self, name: str, channels: int) -> tuple[keras.Variable, keras.Variable]:
        """Adds a reader's `(gamma, beta)`, which mixed precision leaves in float32 and no policy computes in less."""
        return (
            self.add_weight(name=f"{name}_gamma", shape=(channels,), initializer="ones", autocast=False),
            self.add_weight(name=f"{name}_beta", shape=(channels,), initializer="zeros", autocast=False),
        )

    def add_statistics(self, name: str, channels: int) -> tuple[keras.Variable, keras.Variable]:
        """Adds the moving `(mean, variance)` of a tensor with so many channels."""
        options = {"shape": (channels,), "trainable": False, "autocast": False}
        return (
            self.add_weight(name=f"{name}_moving_mean", initializer="zeros", **options),
            self.add_weight(name=f"{name}_moving_variance", initializer="ones", **options),
        )

    def add_norm(self, name: str, channels: int) -> Norm:
        """Adds a whole batch normalisation, for a tensor with one reader."""
        return Norm(*self.add_scale(name, channels), *self.add_statistics(name, channels))

    def uses_batch_statistics(self, training: bool | None) -> bool:
        """Whether to normalise with the batch's statistics; a frozen layer keeps to its moving ones, as in Keras."""
        return bool(training) and bool(self.trainable_variables)

    def update_statistics(self, moving: Sequence[keras.Variable], batch: Sequence[Tensor]) -> None:
        """Moves the variables `moving`, means and variances, towards the tensors `batch`."""
        kept, new = (tf.constant(share, batch[0].dtype) for share in (self.momentum, 1 - self.momentum))
        for variable, value in zip(moving, batch, strict=True):
            moved = ops.wide(tf.convert_to_tensor(variable)) * kept + value * new
            variable.assign(keras.ops.cast(moved, variable.dtype))

    def norm_relu(self, x: Tensor, norm: Norm, training: bool | None, dtype: Any = None) -> Tensor:
        """Returns `relu(norm(x))`, in `dtype`; where it uses the batch's statistics, `norm`'s move towards them."""
        gamma, beta, mean, variance = as_tensors(norm)
        if not self.uses_batch_statistics(training):
            return ops.affine_relu(x, *ops.scale_and_shift(gamma, beta, mean, variance, self.epsilon), dtype)
        y, statistics = ops.norm_relu(x, gamma, beta, self.epsilon, dtype)
        self.update_statistics((norm.mean, norm.variance), statistics)
        return y

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        for variable in own_variables(self):
            store[variable.name] = keras.ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        variables = {variable.name: variable for variable in own_variables(self)}
        if missing := sorted(variables.keys() - set(store.keys())):
            raise ValueError(f"The weights of layer {self.name!r} lack {', '.join(missing)}")
        if extra := sorted(set(store.keys()) - variables.keys()):
            raise ValueError(f"The weights of layer {self.name!r} hold {', '.join(extra)}, which it does not have")
        for name, variable in variables.items():
            if tuple(store[name].shape) != tuple(variable.shape):
                raise ValueError(
                    f"{name} of layer {self.name!r} has shape {tuple(variable.shape)}. "
                    f"Received: {tuple(store[name].shape)}"
                )
        for name, variable in variables.items():
            variable.assign(store[name])


def as_tensors(weights):
    """Weights as tensors: kernels as they are, what normalises in float32 or wider, as in Keras' own layers."""
    tensors = map(tf.convert_to_tensor, weights)
    return [tensor if len(tensor.shape) > 1 else ops.wide(tensor) for tensor in tensors]


def any_image():
    """What a layer takes before it is built: signals, images or volumes."""
    return keras.layers.InputSpec(min_ndim=3, max_ndim=5)


def images_like(input_shape):
    """What a layer takes once it is built: inputs of as many dimensions and channels."""
    return keras.layers.InputSpec(ndim=len(input_shape), axes={-1: input_shape[-1]})


def channels_of(input_shape, layer):
    """The channel count of `input_shape`; raises ValueError where it is unknown."""
    if input_shape[-1] is None:
        raise ValueError(
            f"The channels of the input to layer {layer.name!r} must be known. Received: shape={tuple(input_shape)}"
        )
    return input_shape[-1]


def halved(size):
    """ceil(size / 2), which strides of 2 with symmetric padding give; None stays None."""
    return None if size is None else (size - 1) // 2 + 1
