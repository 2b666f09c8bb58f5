"""The linear half of the transition between two dense blocks: 1x1 convolution - average pool of 2, 2x2 or 2x2x2."""

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.pooling import average_pool
from keras_densenet.ops.shapes import spatial
from keras_densenet.types import Tensor


def transition(x: Tensor, kernel: Tensor, dropout: Dropout | None = None) -> Tensor:
    """Convolves and pools.

    Pooling and a 1x1 convolution are linear and commute, so the pool comes first: a quarter of the products
    for an image, an eighth for a volume. Only
    dropout, which the paper puts between the two, keeps the published order.

    Args:
        x: `(batch, ..., channels)`, of the kernel's dtype or a wider one, which is rounded behind the pool.
        kernel: `(1, 1, channels, kept)`, an axis for each of `x`.
        dropout: a `Dropout`, or None.

    Returns:
        `(batch, ..., kept)`, half of every size, rounded down.

    Examples:
        >>> kd.ops.transition(tf.ones((1, 8, 8, 6)), tf.zeros((1, 1, 6, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    rank = len(spatial(x))
    if None in x.shape[1:-1]:  # XLA leaves this out
        message = f"The image has become too small for the {'x'.join('2' * rank)} pool of a transition"
        enough = tf.debugging.assert_greater_equal(tf.reduce_min(tf.shape(x)[1 : 1 + rank]), 2, message)
        with tf.control_dependencies([enough] if enough is not None else []):  # None: it was checked eagerly
            x = tf.identity(x)  # or what follows may fail first, of shapes that nobody gave
    if dropout is None:
        return convolve(tf.cast(average_pool(x), kernel.dtype), kernel)
    return average_pool(dropout(convolve(tf.cast(x, kernel.dtype), kernel), 0))
