"""What stands before the first dense block."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_densenet import ops
from keras_densenet.architecture import check_count
from keras_densenet.layers.base import PaperLayer, channels_of, halved
from keras_densenet.layers.preprocess import plain_mode
from keras_densenet.types import Mode, Shape, Tensor


class Stem(PaperLayer):
    """A convolution to `filters` channels, and notes of what the weights were trained behind: what both stems share."""

    kernel_size: int

    def __init__(
        self,
        filters: int,
        preprocessing: Mode | None = None,
        framing: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count("filters", filters)
        self.filters, self.preprocessing = int(filters), preprocessing and plain_mode(preprocessing)
        self.framing = dict(framing or {})
        ops.Framing(None, 3, **self.framing)  # refuses what is none

    def build(self, input_shape: Shape) -> None:
        channels = channels_of(input_shape, self)
        self.kernel = self.add_kernel("conv_kernel", (self.kernel_size, self.kernel_size, channels, self.filters))
        self.input_spec = keras.layers.InputSpec(ndim=4, axes={-1: channels})

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "preprocessing": self.preprocessing,
            "framing": dict(self.framing),
        }


@keras.saving.register_keras_serializable("keras_densenet")
class CifarStem(Stem):
    """A bare 3x3 convolution, neither BN nor ReLU after it.

    Weights: `conv_kernel`.

    Args:
        filters: output channels; the paper has 2k for -BC and 16 for all others.
        preprocessing, framing: as in `ImageNetStem`.

    Call arguments:
        inputs: images `(batch, height, width, channels)`.

    Returns:
        `(batch, height, width, filters)`.

    Source: the paper, section 4.2.
    """

    kernel_size = 3

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        return keras.ops.conv(inputs, self.kernel, padding="same", data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)


@keras.saving.register_keras_serializable("keras_densenet")
class ImageNetStem(Stem):
    """7x7 convolution of stride 2 with three pixels of padding on every side (as in torch) - BN - ReLU.

    Weights: `conv_kernel`, `norm_gamma`, `norm_beta`, `norm_moving_mean`, `norm_moving_variance`.

    Args:
        filters: output channels, 2k in the paper.
        preprocessing: the `mode` of the `Preprocess` that the weights were trained behind, None where it is not known;
            a note that is saved with the layer.
        framing: likewise `crop_pct` and `interpolation` of the `Framing` by which image files became the training data.
        momentum: of the moving statistics.
        epsilon: added to the variance.

    Call arguments:
        inputs: images `(batch, height, width, channels)`.
        training: whether to normalise with the batch's statistics (unless the layer is frozen).

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), filters)`, not negative.

    Source: the paper, table 1.
    """

    kernel_size = 7

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        self.norm = self.add_norm("norm", self.filters)

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        return self.norm_relu(self.convolve(inputs), self.norm, training)

    def convolve(self, images: Tensor) -> Tensor:
        padded = keras.ops.pad(images, [[0, 0], [3, 3], [3, 3], [0, 0]])
        return keras.ops.conv(padded, self.kernel, strides=2, data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, _ = input_shape
        return batch, halved(height), halved(width), self.filters


@keras.saving.register_keras_serializable("keras_densenet")
class StemPool(keras.layers.Layer):
    """3x3 max-pool of stride 2 with one pixel of padding on every side (as in torch).

    Call arguments:
        inputs: `(batch, height, width, channels)`, not negative.
        training: whether to use the gradient that is written for training.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), channels)`.

    Source: the paper, table 1.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return ops.stem_pool_in_training(inputs) if training else ops.stem_pool(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        batch, height, width, channels = input_shape
        return batch, halved(height), halved(width), channels
