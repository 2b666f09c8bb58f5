"""What stands behind the last dense block."""

import keras

from keras_densenet.layers.base import PaperLayer, channels_of, images_like
from keras_densenet.types import Shape, Tensor


@keras.saving.register_keras_serializable("keras_densenet")
class Head(PaperLayer):
    """BN - ReLU over all features of the last dense block; global pooling and the classifier follow it.

    Weights: `norm_gamma`, `norm_beta`, `norm_moving_mean`, `norm_moving_variance`.

    Args:
        momentum: of the moving statistics.
        epsilon: added to the variance.

    Call arguments:
        inputs: `(batch, ..., channels)`, signals, images or volumes.
        training: whether to normalise with the batch's statistics (unless the layer is frozen).

    Returns:
        A tensor of the shape of `inputs`, not negative.

    Examples:
        >>> kd.layers.Head()(np.ones((1, 4, 4, 6), "float32")).shape
        TensorShape([1, 4, 4, 6])

    Source: the paper, table 1.
    """

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape, self)
        self.norm = self.add_norm("norm", channels)
        self.input_spec = images_like(input_shape)

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        return self.norm_relu(inputs, self.norm, training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)
