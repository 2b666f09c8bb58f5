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
    """Resize, centre crop, mean and standard deviation, in float32 whatever the precision of the network behind it.

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
        inputs: raw pixels `(batch, height, width, channels)`, of any integer or float type.

    Returns:
        float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range, or images whose channels are not the convention's.

    Example:
        >>> layer = keras_densenet.layers.Preprocess("torch", size=224, crop_pct=0.875)
    """

    def __init__(
        self,
        mode: Mode = "torch",
        size: Size | None = None,
        crop_pct: float = 1.0,
        interpolation: str = "bilinear",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        sides: tuple[Any, ...] | None = None
        if size is not None:
            sides = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
            if len(sides) != 2:
                raise ValueError(f"size must be None, an int or (height, width). Received: size={size!r}")
            for pixels in sides:
                check_count("size", pixels)
        elif crop_pct != 1:
            raise ValueError(f"crop_pct needs a size. Received: size=None, crop_pct={crop_pct!r}")
        if not 0 < crop_pct <= 1:
            raise ValueError(f"crop_pct must be in (0, 1]. Received: crop_pct={crop_pct!r}")
        if interpolation not in ops.INTERPOLATIONS:
            allowed = " or ".join(f'"{name}"' for name in ops.INTERPOLATIONS)
            raise ValueError(f"interpolation must be {allowed}. Received: interpolation={interpolation!r}")
        self.mode = plain_mode(mode)
        self.size, self.crop_pct, self.interpolation = sides, float(crop_pct), interpolation
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: Shape) -> None:
        ops.check_channels(self.mode, input_shape[-1])

    def call(self, inputs: Tensor) -> Tensor:
        pixels = tf.cast(inputs, self.compute_dtype)
        if self.size:
            frame = [int(length / self.crop_pct) for length in self.size]
            named = isinstance(self.mode, str)  # and so pixels are in 0..255
            pixels = ops.resize_and_crop(pixels, self.size, frame, self.interpolation, saturate=named)
        return ops.normalise(pixels, self.mode)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *(self.size or input_shape[1:3]), input_shape[3])

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
