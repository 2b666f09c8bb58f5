"""A dense block: x_l = H_l([x_0, ..., x_{l-1}]), its statistics computed once per feature."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.dense_block_gradient import Reader, dense_block_gradient
from keras_densenet.ops.normalization import Normalization, affine_relu, inverse_deviation, moments


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
        features, used, *kept = _forward(x, layers, epsilon, statistics, dropout)

        def gradient(upstream, *_):
            return dense_block_gradient(upstream, features, *kept, layers, dropout, batch_statistics=statistics is None)

        return (features, *tf.nest.flatten(used)), gradient

    features, mean, variance, *bottlenecks = block(x, *(w for layer in layers for w in layer[:size]))
    used = tuple(zip(bottlenecks[::2], bottlenecks[1::2], strict=True))
    return features, tf.nest.map_structure(tf.stop_gradient, BlockStatistics((mean, variance), used))


def dense_block_inference(x, layers, epsilon, statistics):
    """Runs a dense block with the given `BlockStatistics`; arguments and features as in `dense_block`."""
    return _forward(x, layers, epsilon, statistics, None)[0]


def _forward(x, layers, epsilon, statistics, dropout):
    """-> (features, statistics, `(mean, rstd)` of each feature map that is read, one `Reader` per layer)."""
    dropout = dropout or (lambda tensor, index: tensor)
    features, born, found, readers = [x], [], [], []
    for index, weights in enumerate(layers):
        x, start = tf.concat(features, -1), sum(mean.shape[0] for mean, _, _ in born)
        if statistics is None:  # only of what was born since the last reader
            mean, variance = moments(features[-1])
        else:
            mean, variance = (values[start : x.shape[-1]] for values in statistics.features)
        born.append((mean, variance, inverse_deviation(variance, epsilon)))
        means, variances, rstds = zip(*born, strict=True)
        norm = Normalization.of(weights.gamma1, weights.beta1, tf.concat(means, 0), tf.concat(rstds, 0))
        readers.append(Reader(norm))
        y = convolve(affine_relu(x, norm.scale, norm.shift), weights.kernel1)
        if weights.kernel2 is not None:
            y = dropout(y, 2 * index)
            found.append(moments(y) if statistics is None else statistics.bottlenecks[index])
            mean, variance = found[-1]
            norm = Normalization.of(weights.gamma2, weights.beta2, mean, inverse_deviation(variance, epsilon))
            readers[-1] = readers[-1]._replace(bottleneck=y, bottleneck_norm=norm)
            y = convolve(affine_relu(y, norm.scale, norm.shift), weights.kernel2)
        features.append(dropout(y, 2 * index + 1))
    used = BlockStatistics((tf.concat(means, 0), tf.concat(variances, 0)), tuple(found))
    return tf.concat(features, -1), used, list(zip(means, rstds, strict=True)), readers
