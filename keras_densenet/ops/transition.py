"""The transition between two dense blocks: BN - ReLU - 1x1 convolution - 2x2 average pool."""

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.normalization import affine_relu


def transition(x, scale, shift, kernel, dropout=None):
    """Runs a transition whose batch normalisation is given as an affine map.

    Pooling and a 1x1 convolution are linear and commute, so the pool comes first: a quarter of the products. Only
    dropout, which the paper puts between the two, keeps the published order.

    Args:
        x: `(batch, height, width, channels)`.
        scale, shift: `(channels,)`.
        kernel: `(1, 1, channels, kept)`.
        dropout: a `Dropout`, or None.

    Returns:
        `(batch, height // 2, width // 2, kept)`.
    """
    if None in x.shape[1:3]:  # XLA leaves this out
        message = "The image has become too small for the 2x2 pool of a transition"
        tf.debugging.assert_greater_equal(tf.reduce_min(tf.shape(x)[1:3]), 2, message)
    y = affine_relu(x, scale, shift)
    if dropout is None:
        return convolve(_pool(y), kernel)
    return _pool(dropout(convolve(y, kernel), 0))


def _pool(x):
    return tf.nn.avg_pool2d(x, 2, 2, "VALID")
