"""From raw pixels to what a network was trained on: resize, centre crop, mean and standard deviation."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_densenet.ops.forms import target
from keras_densenet.ops.framing import cover
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Array, Mode, Tensor


class Convention(NamedTuple):
    """Pixels become `(pixels - mean) / std`, per channel or one for all, after RGB became BGR where `bgr`.

    Where `each`, every channel of every image gets mean 0 and standard deviation 1 instead; where `clipped`, what is
    then outside of 0..1 becomes 0 or 1.
    """

    mean: Array
    std: Array
    bgr: bool = False
    each: bool = False
    clipped: bool = False


def _float32(*values):
    return np.array(values, "float32")


# The three in circulation, for pixels in 0..255: torch is that of torchvision, timm and keras.applications' DenseNets;
# caffe of the authors' first Caffe ports and keras.applications' ResNets; unit (0..1) of TensorFlow Hub and plain
# tutorials. And one for values of no certain unit, such as MRI's.
CONVENTIONS = {
    "torch": Convention(_float32(123.675, 116.28, 103.53), _float32(58.395, 57.12, 57.375)),
    "caffe": Convention(_float32(103.939, 116.779, 123.68), _float32(1), bgr=True),
    "unit": Convention(_float32(0), _float32(255)),
    "each": Convention(_float32(0), _float32(1), each=True),
}


def convention(mode: Mode) -> Convention:
    """The `Convention` that `mode` means.

    Args:
        mode: "torch", "caffe", "unit", "each", or `{"mean": ..., "std": ...}` in the unit of the raw pixels, each a
            number for all channels or one for each; or `{"low": ..., "high": ...}`, numbers that become 0 and 1.

    Raises:
        ValueError: for anything else.

    Examples:
        >>> kd.ops.convention("unit")
        Convention(...)
    """
    if isinstance(mode, str) and mode in CONVENTIONS:
        return CONVENTIONS[mode]
    if isinstance(mode, dict) and mode.keys() == {"mean", "std"}:
        mean, std = (np.asarray(mode[name], "float32") for name in ("mean", "std"))
        shapes = {values.shape for values in (mean, std)} - {()}
        if len(shapes) < 2 and max(mean.ndim, std.ndim) < 2 and np.isfinite(mean).all() and (std > 0).all():
            return Convention(mean, std)
        raise ValueError(
            f"mean must be finite and std positive, one number or one per channel. Received: mode={mode!r}"
        )
    if isinstance(mode, dict) and mode.keys() == {"low", "high"}:
        low, high = (np.asarray(mode[name], "float32") for name in ("low", "high"))
        if low.ndim == high.ndim == 0 and low < high and np.isfinite([low, high]).all():
            return Convention(low, high - low, clipped=True)
        raise ValueError(f"low must be a finite number, and high a higher one. Received: mode={mode!r}")
    raise ValueError(
        'mode must be "torch", "caffe", "unit", "each", {"mean": ..., "std": ...} or {"low": ..., "high": ...} in the '
        f"unit of the raw pixels. Received: mode={mode!r}"
    )


def check_channels(mode: Mode, channels: int | None) -> None:
    """Raises ValueError if the convention `mode` is not one of images with so many channels.

    Examples:
        >>> kd.ops.check_channels("torch", 3)
        >>> kd.ops.check_channels("torch", 4)
        Traceback (most recent call last):
        ValueError: ...
    """
    needed = max(values.size for values in convention(mode)[:2])
    if needed not in (1, channels):
        raise ValueError(
            f"mode={mode!r} is for images of {needed} channels. Received: {channels}; give "
            '{"mean": [...], "std": [...]} of your images'
        )


def normalise(pixels: Tensor, mode: Mode) -> Tensor:
    """Applies the convention `mode` to pixels of floats `(..., channels)`, an array or a tensor, a batch for "each".

    Examples:
        >>> kd.ops.normalise(np.full((1, 1, 3), 255.0), "unit").tolist()
        [[[1.0, 1.0, 1.0]]]
    """
    mean, std, bgr, each, clipped = convention(mode)
    mean, std = (values.astype(tf.as_dtype(pixels.dtype).name) for values in (mean, std))
    if each:
        axes = range(1, len(pixels.shape) - 1)
        pixels -= tf.reduce_mean(pixels, axes, keepdims=True)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(pixels), axes, keepdims=True))
        return tf.math.divide_no_nan(pixels, deviation)
    pixels = ((pixels[..., ::-1] if bgr else pixels) - mean) / std
    return tf.clip_by_value(pixels, 0, 1) if clipped else pixels


def resize(
    images: Tensor, height: int | Tensor, width: int | Tensor, interpolation: str, saturate: bool = False
) -> Tensor:
    """Resizes `(batch, h, w, channels)` as Pillow does: separable, and antialiased where it shrinks.

    As two matrix products, it compiles under XLA, which TensorFlow's own antialiased resize does not.

    Args:
        images: float32 or float64.
        height: of the result; like `width` an int or a scalar tensor.
        width: of the result.
        interpolation: "bilinear" or "bicubic".
        saturate: whether what the cubic overshoots stays in 0..255 after each pass, as in Pillow's 8-bit images.

    Examples:
        >>> kd.ops.resize(tf.ones((1, 20, 30, 3)), 8, 12, "bilinear").shape
        TensorShape([1, 8, 12, 3])
    """
    _, rows, columns, _ = sizes(images)
    low, high = (0.0, 255.0) if saturate else (-np.inf, np.inf)
    planes = tf.transpose(images, [0, 3, 1, 2])
    planes = tf.clip_by_value(_filter(planes, _taps(columns, width, interpolation, images.dtype)), low, high)
    planes = tf.transpose(planes, [0, 1, 3, 2])
    planes = tf.clip_by_value(_filter(planes, _taps(rows, height, interpolation, images.dtype)), low, high)
    return tf.transpose(planes, [0, 3, 2, 1])


def _filter(planes, taps):
    """Multiplies `(batch, channels, lines, n)` by `(m, n)` along the last axis.

    As one flat product: tf.matmul of both as they are writes past its buffers without XLA (tensorflow#123109).
    """
    shape = sizes(planes)
    exact = tf.float64 if target().device == "GPU" else planes.dtype  # which rounds factors in float32 to 10 bits
    rows, columns = tf.cast(tf.reshape(planes, [-1, shape[3]]), exact), tf.cast(taps, exact)
    found = tf.cast(tf.matmul(rows, columns, transpose_b=True), planes.dtype)
    return tf.reshape(found, [-1, *shape[1:3], sizes(taps)[0]])


def resize_and_crop(
    images: Tensor, size: Sequence[int], crop_pct: float, interpolation: str, saturate: bool = False
) -> Tensor:
    """The evaluation of the published recipes: resize so that the image just covers a frame, cut out the centre.

    Args:
        images: float32 or float64 `(batch, h, w, channels)`.
        size: `(height, width)` to cut out.
        crop_pct: as in `framing.cover`.
        interpolation: as in `resize`.
        saturate: as in `resize`.

    Returns:
        `(batch, *size, channels)`.

    Examples:
        >>> kd.ops.resize_and_crop(tf.ones((1, 20, 30, 3)), (8, 8), 0.875, "bilinear").shape
        TensorShape([1, 8, 8, 3])
    """
    _, rows, columns, _ = sizes(images)
    height, width, top, left = cover(rows, columns, size, crop_pct)
    return resize(images, height, width, interpolation, saturate)[:, top : top + size[0], left : left + size[1]]


def _taps(size, new_size, interpolation, dtype):
    """The matrix `(new_size, size)` of the filter's weights, every row of sum 1."""
    size, new_size = tf.cast(size, dtype), tf.cast(new_size, dtype)
    scale = size / new_size
    centres = (tf.range(new_size) + 0.5) * scale
    distances = tf.abs(tf.range(size) + 0.5 - centres[:, None]) / tf.maximum(scale, 1)
    weights = _KERNELS[interpolation](distances)
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def _triangle(t):
    return tf.maximum(1 - t, 0)


def _keys(t):
    """Keys' cubic with a = -0.5."""
    inner, outer = ((1.5 * t - 2.5) * t) * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
    return tf.where(t < 1, inner, tf.where(t < 2, outer, tf.zeros_like(t)))


_KERNELS = {"bilinear": _triangle, "bicubic": _keys}
