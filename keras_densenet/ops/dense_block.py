"""A dense block: x_l = H_l([x_0, ..., x_{l-1}]), its statistics computed once per feature."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.normalization import affine_relu, moments, scale_and_shift


class LayerWeights(NamedTuple):
    """Weights of one H_l: BN-ReLU-conv, twice with a bottleneck (1x1 then 3x3), once without (3x3)."""

    gamma1: tf.Tensor
    beta1: tf.Tensor
    kernel1: tf.Tensor
    gamma2: tf.Tensor | None = None
    beta2: tf.Tensor | None = None
    kernel2: tf.Tensor | None = None


class BlockStatistics(NamedTuple):
    """What batch normalisation needs to know of a block's tensors.

    `features` is the `(mean, variance)` of x_0 ... x_{n-1}, concatenated as the last layer reads them;
    `bottlenecks` holds one `(mean, variance)` per layer, and is empty for plain layers.
    """

    features: tuple[tf.Tensor, tf.Tensor]
    bottlenecks: tuple[tuple[tf.Tensor, tf.Tensor], ...] = ()


def dense_block(x, layers, epsilon, statistics=None, dropout=None):
    """Runs a dense block.

    Args:
        x: x_0, `(batch, height, width, channels)`.
        layers: one `LayerWeights` per layer.
        epsilon: added to variances.
        statistics: the `BlockStatistics` to normalise with; None computes the batch's.
        dropout: function of `(tensor, index)` applied after the index-th convolution of the block, or None.

    Returns:
        `(features, statistics)`: all feature maps `(batch, height, width, channels + layers * k)`, x_0 first, and the
        `BlockStatistics` that were used.

    Source: the paper, equation 2 and section 3; statistics are shared by all readers of a feature.
    """
    given = statistics is not None
    dropout = dropout or (lambda tensor, index: tensor)
    features, means, variances, bottlenecks = [x], [], [], []
    for index, weights in enumerate(layers):
        seen = tf.concat(features, -1)
        if not given:  # only what was born since the last reader
            mean, variance = moments(features[-1])
            means.append(mean)
            variances.append(variance)
            mean, variance = tf.concat(means, 0), tf.concat(variances, 0)
        else:
            mean, variance = (s[: seen.shape[-1]] for s in statistics.features)
        y = affine_relu(seen, *scale_and_shift(weights.gamma1, weights.beta1, mean, variance, epsilon))
        y = _convolve(y, weights.kernel1)
        if weights.kernel2 is not None:
            y = dropout(y, 2 * index)
            bottlenecks.append(statistics.bottlenecks[index] if given else moments(y))
            y = affine_relu(y, *scale_and_shift(weights.gamma2, weights.beta2, *bottlenecks[-1], epsilon))
            y = _convolve(y, weights.kernel2)
        features.append(dropout(y, 2 * index + 1))
    used = statistics if given else BlockStatistics((mean, variance), tuple(bottlenecks))
    return tf.concat(features, -1), used


def _convolve(x, kernel):
    return tf.nn.conv2d(x, kernel, 1, "SAME")
