"""A dense block in inference form."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.normalization import affine_relu


class FoldedWeights(NamedTuple):
    """Constants of one H_l: the reader's affine map, and its convolutions, the first with the second's BN in it."""

    scale: tf.Tensor
    shift: tf.Tensor
    kernel1: tf.Tensor
    bias1: tf.Tensor | None = None
    kernel2: tf.Tensor | None = None


def folded_dense_block(x, layers):
    """Runs a dense block whose normalisations are folded.

    Args:
        x: x_0, `(batch, height, width, channels)`.
        layers: one `FoldedWeights` per layer.

    Returns:
        All feature maps `(batch, height, width, channels + layers * k)`, x_0 first.
    """
    for weights in layers:
        y = convolve(affine_relu(x, weights.scale, weights.shift), weights.kernel1)
        if weights.kernel2 is not None:
            y = convolve(tf.nn.relu(y + weights.bias1), weights.kernel2)
        x = tf.concat([x, y], -1)
    return x
