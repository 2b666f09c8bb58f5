"""The ImageNet stem's max-pool."""

import tensorflow as tf


def stem_pool(x):
    """3x3 max-pool of stride 2 with one pixel of padding on every side, as in torch.

    Args:
        x: `(batch, height, width, channels)`, not negative (it comes from a ReLU), so zero padding never wins.

    Returns:
        `(batch, ceil(height / 2), ceil(width / 2), channels)`.
    """
    return tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
