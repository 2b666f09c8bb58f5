"""Dropout that can be repeated, so that a backward pass draws the forward's masks again instead of keeping them."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.types import Tensor


class Dropout(NamedTuple):
    """Sets a fraction `rate` of a tensor to zero and scales the rest; the same for the same `seed` and `index`.

    It is linear in the tensor, and so is its own gradient.

    Args:
        rate: fraction to drop, in [0, 1).
        seed: `(2,)` integer tensor.

    Examples:
        >>> dropout = kd.ops.Dropout(0.5, seed=tf.constant([1, 2]))
        >>> bool(tf.reduce_all(dropout(tf.ones((2, 3)), 0) == dropout(tf.ones((2, 3)), 0)))
        True
    """

    rate: float
    seed: tf.Tensor

    def __call__(self, x: Tensor, index: int) -> Tensor:
        """Drops from `x`; `index` tells the tensors of one block apart."""
        seed = tf.random.experimental.stateless_fold_in(self.seed, index)
        return tf.nn.experimental.stateless_dropout(x, self.rate, seed, rng_alg="philox")
