"""The ImageNet stems' pools and the transitions' average pool."""

import itertools

import numpy as np
import tensorflow as tf

from keras_densenet.ops.forms import forms, passes
from keras_densenet.ops.normalization import wide
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor

_FRAME = [[0, 0], [1, 1], [1, 1], [0, 0]]


def stem_pool(x: Tensor, stride: int = 2) -> Tensor:
    """3x3 max-pool with one pixel of padding on every side, as in torch.

    Args:
        x: `(batch, height, width, channels)`, not negative (it comes from a ReLU), so zero padding never wins.
        stride: 2, or 1 for a `blur` to follow.

    Returns:
        `(batch, ceil(height / stride), ceil(width / stride), channels)`.

    Examples:
        >>> kd.ops.stem_pool(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    return tf.nn.max_pool2d(tf.pad(x, _FRAME), 3, stride, "VALID")


def stem_pool_in_training(x: Tensor, stride: int = 2) -> Tensor:
    """`stem_pool` with a gradient that keeps where each maximum stood, one byte, instead of `x`.

    Examples:
        >>> kd.ops.stem_pool_in_training(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """

    @tf.custom_gradient
    def run(x):
        forward, backward = passes(_pool, _spread)
        y, origin = forward(x, stride)
        _, height, width, _ = sizes(x)
        return y, lambda upstream: backward(upstream, origin, stride)[:, :height, :width]

    return run(x)


def _pool(x, stride):
    """-> (the pool, where in its window each maximum stood)."""
    _, height, width, _ = sizes(x)
    bottom, right = ((size + stride - 1) // stride * stride for size in (height, width))
    padded = tf.pad(x, _FRAME)
    y: Tensor = None
    origin: Tensor = None
    for i, j in itertools.product(range(3), repeat=2):
        element = padded[:, i : i + bottom : stride, j : j + right : stride]
        if y is None:
            y, origin = element, tf.zeros_like(element, tf.uint8)
        else:
            origin = tf.where(element > y, tf.constant(3 * i + j, tf.uint8), origin)
            y = tf.maximum(element, y)
    return y, origin


def _spread(upstream, origin, stride):
    return _SPREAD[stride](upstream, origin)


def _spread_by_1(upstream, origin):
    """Row a is row i of window a + 1 - i. So are columns."""
    upstream, origin = tf.pad(upstream, _FRAME), tf.pad(origin, _FRAME)
    _, height, width, _ = sizes(origin)
    found = 0
    for i, j in itertools.product(range(3), repeat=2):
        window = (slice(None), slice(2 - i, height - i), slice(2 - j, width - j))
        found += tf.where(origin[window] == 3 * i + j, upstream[window], 0)
    return found


def _spread_by_2(upstream, origin):
    """Row 2a is row 1 of window a; row 2a + 1 is row 2 of window a and row 0 of window a + 1. So are columns."""
    batch, rows, columns, channels = sizes(origin)
    places = np.array([[1, 2], [9, 0]])  # 9: of no window
    found = 0
    for i, j in itertools.product(range(2), repeat=2):
        place = (3 * places[i, :, None] + places[j])[:, None, :, None].astype("uint8")
        spread = [
            tf.pad(t[:, i:, j:], [[0, 0], [0, i], [0, j], [0, 0]])[:, :, None, :, None] for t in (origin, upstream)
        ]
        found += tf.where(spread[0] == place, spread[1], 0)
    return tf.reshape(found, (batch, 2 * rows, 2 * columns, channels))


_SPREAD = {1: _spread_by_1, 2: _spread_by_2}


def blur(x: Tensor) -> Tensor:
    """Binomial filter, [1, 2, 1] / 4 down and across, of stride 2 over an image mirrored at its edges.

    Args:
        x: `(batch, height, width, channels)`, at least 2x2 pixels.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), channels)`.

    Examples:
        >>> kd.ops.blur(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    x = tf.concat([x[:, 1:2], x, x[:, -2:-1]], 1)  # TensorFlow's own padding refuses an empty batch
    x = tf.concat([x[:, :, 1:2], x, x[:, :, -2:-1]], 2)
    x = (x[:, :-2:2] + 2 * x[:, 1:-1:2] + x[:, 2::2]) / 4
    return (x[:, :, :-2:2] + 2 * x[:, :, 1:-1:2] + x[:, :, 2::2]) / 4


@tf.custom_gradient
def average_pool(x: Tensor) -> Tensor:
    """2x2 average pool of stride 2; an odd last row or column is left out.

    Args:
        x: `(batch, height, width, channels)`.

    Returns:
        `(batch, height // 2, width // 2, channels)`.
    """
    _, height, width, _ = sizes(x)
    rows, columns = height // 2, width // 2

    def gradient(upstream):
        spread = tf.repeat(tf.repeat(upstream / 4, 2, 1), 2, 2)
        return tf.pad(spread, [[0, 0], [0, height - 2 * rows], [0, width - 2 * columns], [0, 0]])

    return tf.cast(forms().average_pool(wide(x)), x.dtype), gradient
