"""From a file to a network's input: what is cut out of the image, signal or volume, and what size that gets."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_densenet.types import Tensor

PHOTO, PHOTO_CROP = 128, 0.875
NONE = "none"
KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic"}  # TensorFlow's names for the filters of Pillow


@dataclasses.dataclass(frozen=True)
class Framing:
    """How a file becomes the input `(*size, channels)`: the same for training data, predictions and a server.

    An image file is decoded, turned upright, brought to its channels, and resized (antialiased) so that it just covers
    `size / crop_pct`, of which the centre is cut out. An image that has its size already is left alone. A JPEG that is
    at least four times as large is decoded at a half, a quarter or an eighth of its size.

    A signal or volume of another size is resized along each axis by itself (antialiased where it shrinks), or with the
    interpolation "none" cut at the centre, and filled up with zeros on both sides.

    Args:
        size: `(height, width)`, of a signal `(length,)`, of a volume `(depth, height, width)`. None: their own.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA) of files; an array may have any number.
        crop_pct: the part of the resized image that the crop keeps, in (0, 1]; of a signal or volume along each axis.
            Default: 0.875 of images from 128 pixels on, as ImageNet's evaluation cuts 224 of 256, otherwise 1.
        interpolation: "bilinear", which is linear along each axis, or "bicubic"; "none" for signals and volumes.
        dimensions: 1 of signals, 2 of images, 3 of volumes. Default: as many as the size has, or 2.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> kd.data.Framing(size=(224, 224), channels=3).crop_pct
        0.875
        >>> kd.data.Framing(size=(32, 64, 64), channels=1).dimensions
        3
    """

    size: Sequence[int] | None
    channels: int
    crop_pct: float | None = None
    interpolation: str = "bilinear"
    dimensions: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", tuple(map(int, self.size)))
        dimensions = self.dimensions or (2 if self.size is None else len(self.size))
        if dimensions not in (1, 2, 3) or (self.size is not None and len(self.size) != dimensions):
            raise ValueError(
                "size must have one number of a signal, two of an image, three of a volume, as many as dimensions say. "
                f"Received: size={self.size}, dimensions={self.dimensions}"
            )
        object.__setattr__(self, "dimensions", dimensions)
        crop_pct = self.crop_pct
        if crop_pct is None:
            is_photo = self.size is not None and dimensions == 2 and min(self.size) >= PHOTO
            object.__setattr__(self, "crop_pct", crop_pct := PHOTO_CROP if is_photo else 1.0)
        if self.size is not None and dimensions == 2 and self.interpolation == NONE:
            raise ValueError(f'interpolation="{NONE}" is for signals and volumes. Received: size={self.size}')
        check_framing(crop_pct, "bilinear" if self.interpolation == NONE else self.interpolation)

    def box(self, *sizes: int | Tensor) -> tuple[Any, ...]:
        """The box that becomes the input, starts and lengths along each axis; numbers, or of images also tensors.

        Args:
            *sizes: height and width of an upright image; or the length of a signal; or depth, height and width.
        """
        if self.size is None or (not tf.is_tensor(sizes[0]) and sizes == self.size):
            return (0,) * len(sizes) + sizes
        assert self.crop_pct is not None  # since construction
        if self.interpolation == NONE:
            return *((length - side) // 2 for length, side in zip(sizes, self.size, strict=True)), *self.size
        if self.dimensions != 2:
            sides = [self.crop_pct * length for length in sizes]
            return *((length - side) / 2 for length, side in zip(sizes, sides, strict=True)), *sides
        height, width = sizes
        whole_height, whole_width, top, left = cover(height, width, self.size, self.crop_pct)
        y, x = height / whole_height, width / whole_width
        return _real(top) * y, _real(left) * x, self.size[0] * y, self.size[1] * x

    def reduction(self, box: Sequence[Any]) -> int | Tensor:
        """By how much a JPEG may be decoded smaller, 1, 2, 4 or 8, for a box of which twice the size is left."""
        height, width = self.size or box[2:]
        scale = _minimum(box[2] / height, box[3] / width)
        return 1 + sum(factor // 2 * _int(scale >= 2 * factor) for factor in (2, 4, 8))


def check_framing(crop_pct: float, interpolation: str) -> None:
    """Raises ValueError for what is no share of an image, or no filter.

    Examples:
        >>> kd.ops.check_framing(0.875, "bilinear")
        >>> kd.ops.check_framing(2.0, "bilinear")
        Traceback (most recent call last):
        ValueError: crop_pct must be ...
    """
    if not 0 < crop_pct <= 1:
        raise ValueError(f"crop_pct must be in (0, 1]. Received: crop_pct={crop_pct!r}")
    if interpolation not in KERNELS:
        allowed = " or ".join(f'"{name}"' for name in KERNELS)
        raise ValueError(f"interpolation must be {allowed}. Received: interpolation={interpolation!r}")


def cover(height: int | Tensor, width: int | Tensor, size: Sequence[int], crop_pct: float) -> tuple[Any, Any, Any, Any]:
    """The evaluation of the published recipes: how large an image is made, and where its centre is cut out.

    Args:
        height, width: of the image, ints or scalar tensors.
        size: `(height, width)` to cut out.
        crop_pct: `size` by what the image just covers, in (0, 1]; where `size` is square, the image's shorter side
            becomes `size / crop_pct`.

    Returns:
        Height and width of the resized image, top and left of the cut in it.

    Source: torchvision's `Resize` and `CenterCrop`, rounding included.
    """
    frame = [int(length / crop_pct) for length in size]
    whole = _maximum(frame[0], height * frame[1] // width), _maximum(frame[1], width * frame[0] // height)
    return *whole, *(_half(length - part) for length, part in zip(whole, size, strict=True))


def resize_box(image: Tensor, box: Sequence[Any], size: Sequence[int], interpolation: str) -> Tensor:
    """Resizes a box of an image to whole levels, as Pillow does: columns first, antialiased, rounded after each pass.

    Args:
        image: uint8 `(height, width, channels)`.
        box: `(top, left, height, width)`, in pixels; fractions of pixels count.
        size: `(height, width)` of the result.
        interpolation: of `Framing`.

    Returns:
        uint8 `(*size, channels)`. The largest difference from Pillow is one level for each pass.

    Examples:
        >>> image = tf.zeros((20, 30, 3), "uint8")
        >>> kd.ops.resize_box(image, (0, 5, 20, 20), (8, 8), "bilinear").shape
        TensorShape([8, 8, 3])
    """
    top, left, height, width = (tf.cast(part, tf.float32) for part in box)
    rows = tf.shape(image)[0]
    pixels, whole = tf.cast(image, tf.float32)[None], tf.cast(rows, tf.float32)
    for lines, y, x in (
        ((rows, size[1]), (0.0, whole, rows), (left, width, size[1])),
        (size, (top, height, size[0]), (0.0, float(size[1]), size[1])),
    ):
        scale = [tf.cast(new, tf.float32) / length for _, length, new in (y, x)]
        pixels = tf.raw_ops.ScaleAndTranslate(
            images=pixels,
            size=tf.stack(lines),
            scale=tf.stack(scale),
            translation=tf.stack([y[0] * scale[0], x[0] * scale[1]]) * -1.0,
            kernel_type=KERNELS[interpolation],
            antialias=True,
        )
        pixels = tf.clip_by_value(tf.floor(pixels + 0.5), 0, 255)
    return tf.cast(pixels[0], tf.uint8)


def _half(excess):
    """excess / 2, rounded half to even as torchvision's Python does."""
    return (excess + excess // 2 % 2) // 2


def _maximum(a, b):
    return tf.maximum(tf.cast(a, b.dtype), b) if tf.is_tensor(b) else max(a, b)


def _minimum(a, b):
    return tf.minimum(a, b) if tf.is_tensor(b) else min(a, b)


def _real(number):
    return tf.cast(number, tf.float64) if tf.is_tensor(number) else number


def _int(condition):
    return tf.cast(condition, tf.int32) if tf.is_tensor(condition) else int(condition)
