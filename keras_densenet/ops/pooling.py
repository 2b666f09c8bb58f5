"""The ImageNet stem's max-pool and the transitions' average pool."""

import itertools

import numpy as np
import tensorflow as tf

from keras_densenet.compat.tensorflow import is_compiling
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


def stem_pool(x: Tensor) -> Tensor:
    """3x3 max-pool of stride 2 with one pixel of padding on every side, as in torch.

    Args:
        x: `(batch, height, width, channels)`, not negative (it comes from a ReLU), so zero padding never wins.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), channels)`.
    """
    return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")


@tf.custom_gradient
def stem_pool_in_training(x: Tensor) -> Tensor:
    """`stem_pool` with a gradient that keeps where each maximum stood, one byte, instead of `x`."""
    batch, height, width, _ = sizes(x)
    rows, columns = (height + 1) // 2, (width + 1) // 2
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    y: Tensor = None
    origin: Tensor = None
    for i, j in itertools.product(range(3), repeat=2):
        element = padded[:, i : i + 2 * rows : 2, j : j + 2 * columns : 2]
        if y is None:
            y, origin = element, tf.zeros_like(element, tf.uint8)
        else:
            origin = tf.where(element > y, tf.constant(3 * i + j, tf.uint8), origin)
            y = tf.maximum(element, y)

    def gradient(upstream):
        """Row 2a is row 1 of window a; row 2a + 1 is row 2 of window a and row 0 of window a + 1. So are columns."""
        places = np.array([[1, 2], [9, 0]])  # 9: of no window
        found = 0
        for i, j in itertools.product(range(2), repeat=2):
            place = (3 * places[i, :, None] + places[j])[:, None, :, None].astype("uint8")
            spread = [
                tf.pad(t[:, i:, j:], [[0, 0], [0, i], [0, j], [0, 0]])[:, :, None, :, None] for t in (origin, upstream)
            ]
            found += tf.where(spread[0] == place, spread[1], 0)
        return tf.reshape(found, (batch, 2 * rows, 2 * columns, x.shape[-1]))[:, :height, :width]

    return y, gradient


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
    if is_compiling():  # elementwise, so that XLA fuses it with what comes before
        quarters = [x[:, i : 2 * rows : 2, j : 2 * columns : 2] for i in range(2) for j in range(2)]
        y = sum(quarters) / 4
    else:
        y = tf.nn.avg_pool2d(x, 2, 2, "VALID")

    def gradient(upstream):
        spread = tf.repeat(tf.repeat(upstream / 4, 2, 1), 2, 2)
        return tf.pad(spread, [[0, 0], [0, height - 2 * rows], [0, width - 2 * columns], [0, 0]])

    return y, gradient
