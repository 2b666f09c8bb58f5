"""From raw pixels to a network's input, as a layer that is saved and exported with the network."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet import ops
from keras_densenet.architecture import check_count
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
            "std": ...}` of your own images, in the unit of their pixels, each a number or one for each channel.
        size: of the result in pixels, an int or `(height, width)`. None: no resize, no crop.
        crop_pct: the part of the resized image that the crop keeps, in (0, 1]; ImageNet's usual one is 0.875.
        interpolation: "bilinear" or "bicubic".

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
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **{"dtype": "float32", **kwargs})  # 16-bit pixels overflow in float16
        sides: tuple[Any, ...] | None = None
        if size is not None:
            sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
            if len(sides) != 2:
                raise ValueError(f"size must be None, an int or (height, width). Received: size={size!r}")
            for pixels in sides:
                check_count("size", pixels)
        elif crop_pct != 1:
            raise ValueError(f"crop_pct needs a size. Received: size=None, crop_pct={crop_pct!r}")
        ops.check_framing(crop_pct, interpolation)
        self.mode = plain_mode(mode)
        self.size, self.crop_pct, self.interpolation = sides, float(crop_pct), interpolation
        self.input_spec = keras.layers.InputSpec(min_ndim=2, max_ndim=5)

    def build(self, input_shape: Shape) -> None:
        self._check_rank(input_shape)
        ops.check_channels(self.mode, input_shape[-1])

    def call(self, inputs: Tensor) -> Tensor:
        pixels = tf.cast(inputs, tf.float64 if self.compute_dtype == "float64" else tf.float32)
        if self.size:
            named = isinstance(self.mode, str)  # and so pixels are in 0..255
            images = pixels if len(pixels.shape) == 4 else pixels[None]
            images = ops.resize_and_crop(images, self.size, self.crop_pct, self.interpolation, saturate=named)
            pixels = images if len(pixels.shape) == 4 else images[0]
        return tf.cast(ops.normalise(pixels, self.mode), self.compute_dtype)

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
        }


def plain_mode(mode: Mode) -> str | dict[str, Any]:
    """`mode` as it can be saved: a name, or numbers and lists for arrays. Raises ValueError if it is no convention."""
    ops.convention(mode)
    if isinstance(mode, str):
        return mode
    return {name: np.asarray(values, "float32").tolist() for name, values in mode.items()}
