"""What stands before the first dense block."""

from collections.abc import Mapping
from typing import Any

import keras

from keras_densenet import ops
from keras_densenet.architecture import StemConvolution, by, check_count, image_words, stem_convolutions
from keras_densenet.layers.base import Norm, PaperLayer, any_image, channels_of, halved, images_like
from keras_densenet.layers.preprocess import plain_mode
from keras_densenet.ops.convolution import convolve_strided
from keras_densenet.types import Mode, Shape, Tensor


class Stem(PaperLayer):
    """Convolutions to `filters` channels, and notes of what the weights were trained behind: what all stems share."""

    kind: str
    """A value of `Architecture.stem`."""

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
        self.convolutions = stem_convolutions(self.kind, channels, self.filters)
        self.rank = len(input_shape) - 2
        self.h = [self.add_convolution(convolution) for convolution in self.convolutions]
        self.input_spec = images_like(input_shape)

    def add_convolution(self, convolution: StemConvolution) -> tuple[Any, ...]:
        """Adds the weights of a convolution and of what follows it, the kernel first."""
        _, size, _, channels, filters = convolution
        return (self.add_kernel(f"conv{convolution.suffix}_kernel", (*[size] * self.rank, channels, filters)),)

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        x = inputs
        for (_, size, stride, *_), (kernel, *rest) in zip(self.convolutions, self.h, strict=True):
            if stride > 1 or self.rank == 3:  # as torch pads; TensorFlow's "same" would pad one side alone
                x = keras.ops.pad(x, [[0, 0], *[[size // 2] * 2] * self.rank, [0, 0]])
            if self.rank == 3:
                x = convolve_strided(x, keras.ops.convert_to_tensor(kernel), stride)
            else:
                padding = "same" if stride == 1 else "valid"
                x = keras.ops.conv(x, kernel, stride, padding, data_format="channels_last")
            x = self.follow(x, training, *rest)
        return x

    def follow(self, x: Tensor, training: bool | None, *weights: Any) -> Tensor:
        """What stands behind a convolution, with the weights that `add_convolution` gave it."""
        raise NotImplementedError

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
        inputs: signals, images or volumes `(batch, ..., channels)`; the convolution has as many dimensions.

    Returns:
        `(batch, ..., filters)`.

    Examples:
        >>> kd.layers.CifarStem(filters=8)(np.ones((1, 8, 8, 3), "float32")).shape
        TensorShape([1, 8, 8, 8])

    Source: the paper, section 4.2.
    """

    kind = "cifar"

    def follow(self, x: Tensor, training: bool | None) -> Tensor:
        return x

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
        inputs: signals, images or volumes `(batch, ..., channels)`; the convolution has as many dimensions.
        training: whether to normalise with the batch's statistics (unless the layer is frozen).

    Returns:
        `(batch, ..., filters)`, of every size ceil(size / 2), not negative.

    Examples:
        >>> kd.layers.ImageNetStem(filters=8)(np.ones((1, 32, 32, 3), "float32")).shape
        TensorShape([1, 16, 16, 8])

    Source: the paper, table 1.
    """

    kind = "imagenet"

    def add_convolution(self, convolution: StemConvolution) -> tuple[Any, ...]:
        kernel = super().add_convolution(convolution)
        return (*kernel, self.add_norm(f"norm{convolution.suffix}", convolution.out_channels))

    def follow(self, x: Tensor, training: bool | None, norm: Norm) -> Tensor:
        return self.norm_relu(x, norm, training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *map(halved, input_shape[1:-1]), self.filters


@keras.saving.register_keras_serializable("keras_densenet")
class DeepStem(ImageNetStem):
    """Three 3x3 convolutions, BN - ReLU behind each: the first of stride 2, the first two to half of the channels.

    Weights: `conv_kernel`, `norm_gamma`, `norm_beta`, `norm_moving_mean`, `norm_moving_variance`, and the same of
    `conv2`, `norm2`, `conv3` and `norm3`.

    Args, call arguments and returns are those of `ImageNetStem`.

    Examples:
        >>> kd.layers.DeepStem(filters=8)(np.ones((1, 32, 32, 3), "float32")).shape
        TensorShape([1, 16, 16, 8])

    Source: stem C of He et al., Bag of Tricks for Image Classification with CNNs, CVPR 2019, as in timm's "d" networks.
    """

    kind = "deep"


@keras.saving.register_keras_serializable("keras_densenet")
class StemPool(keras.layers.Layer):
    """3x3 max-pool of stride 2 with one pixel of padding on every side (as in torch).

    Call arguments:
        inputs: signals, images or volumes `(batch, ..., channels)`, not negative.
        training: whether to use the gradient that is written for training.

    Returns:
        `(batch, ..., channels)`, of every size ceil(size / 2).

    Examples:
        >>> kd.layers.StemPool()(np.ones((1, 16, 16, 8), "float32")).shape
        TensorShape([1, 8, 8, 8])

    Source: the paper, table 1.
    """

    kind = "max"
    """A value of `Architecture.stem_pool`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = any_image()

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        return ops.stem_pool_in_training(inputs) if training else ops.stem_pool(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[0], *map(halved, input_shape[1:-1]), input_shape[-1]

    def get_config(self) -> dict[str, Any]:  # Keras' own keeps arguments, among which a policy may not be
        return super().get_config()


@keras.saving.register_keras_serializable("keras_densenet")
class BlurPool(StemPool):
    """3x3 max-pool of stride 1, then a 3x3 binomial filter of stride 2 over what is mirrored at its edges (as in timm).

    It is against aliasing: what comes out changes little where the image moves by a pixel.

    Call arguments:
        inputs: `(batch, ..., channels)`, not negative, at least 2 pixels along each axis.
        training: whether to use the gradient that is written for training.

    Returns:
        `(batch, ..., channels)`, of every size ceil(size / 2).

    Examples:
        >>> kd.layers.BlurPool()(np.ones((1, 16, 16, 8), "float32")).shape
        TensorShape([1, 8, 8, 8])

    Source: Zhang: Making Convolutional Networks Shift-Invariant Again, ICML 2019.
    """

    kind = "blur"

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        self._check_size(inputs.shape)
        x = keras.ops.cast(inputs, self.compute_dtype)
        return ops.blur(ops.stem_pool_in_training(x, 1) if training else ops.stem_pool(x, 1))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_size(input_shape)
        return super().compute_output_shape(input_shape)

    def _check_size(self, shape):
        sizes = shape[1:-1]
        if any(size is not None and size < 2 for size in sizes):
            image, pixels = image_words(len(sizes))
            raise ValueError(
                f"Layer {self.name!r} mirrors the {image} at its edges: give it {image}s of at least "
                f"{by([2] * len(sizes))} {pixels}. Received: {by(sizes)} {pixels}"
            )
