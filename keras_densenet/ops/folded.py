"""A dense block in inference form."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.kernels import Kernels
from keras_densenet.ops.plain import convolution
from keras_densenet.types import Tensor


class FoldedWeights(NamedTuple):
    """Constants of one H_l: the reader's affine map, and its convolutions, the first with the second's BN in it.

    Examples:
        >>> layer = kd.ops.FoldedWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)), None, None)
        >>> layer.kernel1.shape
        TensorShape([3, 3, 6, 4])
    """

    scale: tf.Tensor
    shift: tf.Tensor
    kernel1: tf.Tensor
    bias1: tf.Tensor | None = None
    kernel2: tf.Tensor | None = None


def folded_dense_block(x: Tensor, layers: Sequence[FoldedWeights]) -> Tensor:
    """Runs a dense block whose normalisations are folded.

    Args:
        x: x_0, `(batch, ..., channels)`.
        layers: one `FoldedWeights` per layer.

    Returns:
        All feature maps `(batch, ..., channels + layers * k)`, x_0 first.

    Examples:
        >>> layer = kd.ops.FoldedWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)), None, None)
        >>> kd.ops.folded_dense_block(tf.ones((2, 8, 8, 6)), [layer]).shape
        TensorShape([2, 8, 8, 10])
    """
    for weights in layers:
        y = convolution(folded_norm_relu(x, weights.scale, weights.shift), weights.kernel1)
        if weights.kernel2 is not None:
            y = tf.nn.relu(tf.nn.bias_add(y, weights.bias1))  # with the convolution, one kernel of TensorFlow's
            y = convolution(y, weights.kernel2)
        x = tf.concat([x, y], -1)
    return x


def folded_norm_relu(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`affine_relu` as TensorFlow's inference kernel, whoever compiles it: what is exported runs elsewhere.

    Examples:
        >>> x = tf.constant([[[[-1.0, 2.0]]]])
        >>> kd.ops.folded_norm_relu(x, tf.constant([1.0, 3.0]), tf.constant([0.0, 1.0])).numpy().round(3).tolist()
        [[[[0.0, 7.0]]]]
    """
    return Kernels.affine_relu(x, scale, shift)
