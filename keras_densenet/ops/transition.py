"""The linear half of the transition between two dense blocks: 1x1 convolution - 2x2 average pool."""

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.pooling import average_pool
from keras_densenet.types import Tensor


def transition(x: Tensor, kernel: Tensor, dropout: Dropout | None = None) -> Tensor:
    """Convolves and pools.

    Pooling and a 1x1 convolution are linear and commute, so the pool comes first: a quarter of the products. Only
    dropout, which the paper puts between the two, keeps the published order.

    Args:
        x: `(batch, height, width, channels)`, of the kernel's dtype or a wider one, which is rounded behind the pool.
        kernel: `(1, 1, channels, kept)`.
        dropout: a `Dropout`, or None.

    Returns:
        `(batch, height // 2, width // 2, kept)`.

    Examples:
        >>> kd.ops.transition(tf.ones((1, 8, 8, 6)), tf.zeros((1, 1, 6, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    if None in x.shape[1:3]:  # XLA leaves this out
        message = "The image has become too small for the 2x2 pool of a transition"
        enough = tf.debugging.assert_greater_equal(tf.reduce_min(tf.shape(x)[1:3]), 2, message)
        with tf.control_dependencies([enough] if enough is not None else []):  # None: it was checked eagerly
            x = tf.identity(x)  # or what follows may fail first, of shapes that nobody gave
    if dropout is None:
        return convolve(tf.cast(average_pool(x), kernel.dtype), kernel)
    return average_pool(dropout(convolve(tf.cast(x, kernel.dtype), kernel), 0))
