"""The transition between two dense blocks as a Keras layer."""

from typing import Any

import keras

from keras_densenet import ops
from keras_densenet.architecture import by, check_rate, check_theta, image_words, transition_channels
from keras_densenet.layers.base import PaperLayer, channels_of, images_like
from keras_densenet.layers.policy import own_policy, wide_dtype
from keras_densenet.types import Shape, Tensor


@keras.saving.register_keras_serializable("keras_densenet")
class Transition(PaperLayer):
    """BN - ReLU - 1x1 convolution - 2x2 average pool (2, 2x2x2); keeps floor(theta * channels) channels.

    Weights: `norm_gamma`, `norm_beta`, `norm_moving_mean`, `norm_moving_variance`, `conv_kernel`.

    Args:
        theta: compression, in (0, 1].
        dropout_rate: fraction of the convolution's outputs that is dropped in training, before the pool.
        momentum: of the moving statistics.
        epsilon: added to variances.
        seed: of the dropout.

    Call arguments:
        inputs: `(batch, ..., channels)`, signals, images or volumes of at least 2 pixels along each axis.
        training: whether to normalise with the batch's statistics (unless the layer is frozen) and to drop.

    Returns:
        `(batch, ..., floor(theta * channels))`, half of every size, rounded down.

    Raises:
        ValueError: for an argument out of range or an image that is too small.

    Examples:
        >>> kd.layers.Transition(theta=0.5)(np.ones((1, 8, 8, 6), "float32")).shape
        TensorShape([1, 4, 4, 3])

    Source: the paper, section 3, "Pooling layers" and "Compression".
    """

    def __init__(self, theta: float = 0.5, dropout_rate: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_theta(theta)
        check_rate("dropout_rate", dropout_rate)
        self.theta, self.dropout_rate, self.seed = float(theta), float(dropout_rate), seed
        self.seed_generator: Any = keras.random.SeedGenerator(seed) if dropout_rate else None

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape, self)
        self.norm = self.add_norm("norm", channels)
        window = [1] * (len(input_shape) - 2)
        self.kernel = self.add_kernel("conv_kernel", (*window, channels, self.kept_channels(channels)))
        self.input_spec = images_like(input_shape)

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        self._check_size(inputs.shape)
        dropout = ops.Dropout(self.dropout_rate, self.seed_generator.next()) if training and self.dropout_rate else None
        y = self.norm_relu(inputs, self.norm, training, wide_dtype(own_policy(self)))  # the pool rounds, once
        return ops.transition(y, keras.ops.cast(self.kernel, self.compute_dtype), dropout)

    def kept_channels(self, channels: int) -> int:
        """How many of so many channels come out."""
        return transition_channels(self.theta, channels)

    def _check_size(self, shape):
        sizes = shape[1:-1]
        if any(size is not None and size < 2 for size in sizes):
            image, pixels = image_words(len(sizes))
            raise ValueError(
                f"The {image} has become too small for the {by([2] * len(sizes))} pool of layer {self.name!r}: give "
                f"the network {image}s of at least its total stride. Received: {by(sizes)} {pixels}"
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_size(input_shape)
        kept = self.kept_channels(channels_of(input_shape, self))
        return input_shape[0], *(size and size // 2 for size in input_shape[1:-1]), kept

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "theta": self.theta, "dropout_rate": self.dropout_rate, "seed": self.seed}
