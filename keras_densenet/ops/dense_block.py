"""A dense block: x_l = H_l([x_0, ..., x_{l-1}]), its statistics computed once per feature."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.dense_block_gradient import dense_block_gradient
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
    """Runs a dense block in training, with a hand-written gradient.

    Kept for the backward pass are the features, the bottlenecks' inputs to their normalisation, and the statistics;
    everything of size depth x channels is computed again. Second derivatives are refused.

    Args:
        x: x_0, `(batch, height, width, channels)`.
        layers: one `LayerWeights` per layer.
        epsilon: added to variances.
        statistics: the `BlockStatistics` to normalise with, as constants; None computes the batch's.
        dropout: a `Dropout` for the outputs of all convolutions, or None.

    Returns:
        `(features, statistics)`: all feature maps `(batch, height, width, channels + layers * k)`, x_0 first, and the
        `BlockStatistics` that were used, as constants.

    Source: the paper, equation 2 and section 3; statistics are shared by all readers of a feature.
    """
    size = 3 if layers[0].kernel2 is None else 6

    @tf.custom_gradient
    def block(x, *weights):
        layers = [LayerWeights(*weights[i : i + size]) for i in range(0, len(weights), size)]
        features, used, bottlenecks = _forward(x, layers, epsilon, statistics, dropout)

        def gradient(upstream, *_):
            return dense_block_gradient(
                upstream, features, bottlenecks, layers, used, epsilon, dropout, batch_statistics=statistics is None
            )

        return (features, *tf.nest.flatten(used)), gradient

    features, mean, variance, *bottlenecks = block(x, *(w for layer in layers for w in layer[:size]))
    used = tuple(zip(bottlenecks[::2], bottlenecks[1::2], strict=True))
    return features, tf.nest.map_structure(tf.stop_gradient, BlockStatistics((mean, variance), used))


def dense_block_inference(x, layers, epsilon, statistics):
    """Runs a dense block with the given `BlockStatistics`; arguments and features as in `dense_block`."""
    return _forward(x, layers, epsilon, statistics, None)[0]


def _forward(x, layers, epsilon, statistics, dropout):
    """-> (features, statistics, what each bottleneck's normalisation reads)."""
    given = statistics is not None
    dropout = dropout or (lambda tensor, index: tensor)
    features, means, variances, found, bottlenecks = [x], [], [], [], []
    for index, weights in enumerate(layers):
        seen = tf.concat(features, -1)
        if given:
            mean, variance = (s[: seen.shape[-1]] for s in statistics.features)
        else:  # only of what was born since the last reader
            for known, new in zip((means, variances), moments(features[-1]), strict=True):
                known.append(new)
            mean, variance = tf.concat(means, 0), tf.concat(variances, 0)
        y = affine_relu(seen, *scale_and_shift(weights.gamma1, weights.beta1, mean, variance, epsilon))
        y = convolve(y, weights.kernel1)
        if weights.kernel2 is not None:
            y = dropout(y, 2 * index)
            bottlenecks.append(y)
            found.append(statistics.bottlenecks[index] if given else moments(y))
            y = affine_relu(y, *scale_and_shift(weights.gamma2, weights.beta2, *found[-1], epsilon))
            y = convolve(y, weights.kernel2)
        features.append(dropout(y, 2 * index + 1))
    used = statistics if given else BlockStatistics((mean, variance), tuple(found))
    return tf.concat(features, -1), used, bottlenecks
