"""From raw pixels to a network's input, as a layer that is saved and exported with the network."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet import ops
from keras_densenet.architecture import check_count, sides
from keras_densenet.types import Mode, Shape, Size, Tensor


@keras.saving.register_keras_serializable("keras_densenet")
class Preprocess(keras.layers.Layer):
    """Resize, centre crop, mean and standard deviation, in float32 by default whatever the network's precision is.

    It computes in float32, or in float64 where that is its dtype, and casts what comes out. It takes batches, and
    single images in a `tf.data` pipeline, as `keras.layers.Resizing` does.

    Resizing equals Pillow's to rounding (antialiased where it shrinks), resize and crop are those of torchvision and
    timm: the shorter side becomes `size / crop_pct`, and the centre of `size` pixels is cut out.

    Args:
        mode: the convention that the weights were trained with, for pixels in 0..255: "torch" (0..1, then ImageNet's
            mean and standard deviation), "caffe" (BGR, minus ImageNet's mean), "unit" (0..1). Or `{"mean": ...,
            "std": ...}` of your own images, in the unit of their pixels, each a number or one for each channel. "each",
            for values of no certain unit, such as MRI's: every channel of every image gets mean 0 and standard
            deviation 1. `{"low": ..., "high": ...}`, for a range, such as a window of CT: they become 0 and 1, and so
            does what is outside.
        size: of the result in pixels, an int or `(height, width)`. None: no resize, no crop.
        crop_pct: the part of the resized image that the crop keeps, in (0, 1]; ImageNet's usual one is 0.875.
        interpolation: "bilinear" or "bicubic".
        dimensions: 1 of signals, 2 of images, 3 of volumes, which tells batches from single ones. Default: of two axes
            1, of three and four 2, of five 3.

    Call arguments:
        inputs: raw pixels `(batch, height, width, channels)` or `(height, width, channels)`, of any integer or float
            type; without a size also signals and volumes.

    Returns:
        A tensor of the inputs' rank, in the layer's compute dtype.

    Raises:
        ValueError: for an argument out of range, or images whose channels are not the convention's.

    Examples:
        >>> layer = kd.layers.Preprocess("torch", size=8, crop_pct=0.875)
        >>> layer(np.zeros((1, 20, 30, 3), "uint8")).shape
        TensorShape([1, 8, 8, 3])
    """

    def __init__(
        self,
        mode: Mode = "torch",
        size: Size | None = None,
        crop_pct: float = 1.0,
        interpolation: str = "bilinear",
        dimensions: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})  # 16-bit pixels overflow in float16
        each = None if size is None else sides(size)
        if each is not None:
            if len(each) != 2:
                raise ValueError(f"size must be None, an int or (height, width). Received: size={size!r}")
            for pixels in each:
                check_count("size", pixels)
        elif crop_pct != 1:
            raise ValueError(f"crop_pct needs a size. Received: size=None, crop_pct={crop_pct!r}")
        ops.check_framing(crop_pct, interpolation)
        if dimensions not in (None, 1, 2, 3):
            raise ValueError(
                f"dimensions must be 1 (signals), 2 (images) or 3 (volumes). Received: dimensions={dimensions!r}"
            )
        self.mode = plain_mode(mode)
        self.size, self.crop_pct, self.interpolation = each, float(crop_pct), interpolation
        self.dimensions = dimensions
        least, most = (dimensions + 1, dimensions + 2) if dimensions else (2, 5)
        self.input_spec = keras.layers.InputSpec(min_ndim=least, max_ndim=most)

    def build(self, input_shape: Shape) -> None:
        self._check_rank(input_shape)
        ops.check_channels(self.mode, input_shape[-1])

    def call(self, inputs: Tensor) -> Tensor:
        pixels = tf.cast(inputs, tf.float64 if self.compute_dtype == "float64" else tf.float32)
        axes = len(pixels.shape)
        is_single = axes == 1 + (self.dimensions or {2: 1, 5: 3}.get(axes, 2))
        pixels = pixels[None] if is_single else pixels
        if self.size:
            in_bytes = self.mode in ("torch", "caffe", "unit")
            pixels = ops.resize_and_crop(pixels, self.size, self.crop_pct, self.interpolation, saturate=in_bytes)
        pixels = tf.cast(ops.normalise(pixels, self.mode), self.compute_dtype)
        return pixels[0] if is_single else pixels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._check_rank(input_shape)
        return (*input_shape[:-3], *self.size, input_shape[-1]) if self.size else tuple(input_shape)

    def _check_rank(self, shape):
        if self.size and len(shape) not in (3, 4):
            raise ValueError(
                f"Layer {self.name!r} resizes images; signals and volumes come in the network's own size: leave size "
                f"out. Received: size={self.size}, inputs of shape {tuple(shape)}"
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "mode": self.mode,
            "size": self.size and list(self.size),
            "crop_pct": self.crop_pct,
            "interpolation": self.interpolation,
            "dimensions": self.dimensions,
        }


def plain_mode(mode: Mode) -> str | dict[str, Any]:
    """`mode` as it can be saved: a name, or numbers and lists for arrays. Raises ValueError if it is no convention."""
    ops.convention(mode)
    if isinstance(mode, str):
        return mode
    return {name: np.asarray(values, "float32").tolist() for name, values in mode.items()}
