"""A dense block: x_l = H_l([x_0, ..., x_{l-1}]), its statistics computed once per feature."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import convolve
from keras_densenet.ops.dense_block_gradient import Reader, dense_block_gradient
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.forms import forms, passes, traced_once
from keras_densenet.ops.norm_relu import moments
from keras_densenet.ops.normalization import Normalization, affine_relu, once, scale_and_shift, standardisation
from keras_densenet.ops.shapes import sizes
from keras_densenet.ops.slices import over_slices, slice_of
from keras_densenet.ops.xla import put_in_place
from keras_densenet.types import Tensor


class LayerWeights(NamedTuple):
    """Weights of one H_l: BN-ReLU-conv, twice with a bottleneck (1x1 then 3x3), once without (3x3).

    Kernels have an axis for each of the image, `(3, 3, channels, filters)`, and three of a volume, one of a signal.

    Examples:
        >>> ones, kernel = tf.ones(6), tf.zeros((3, 3, 6, 4))
        >>> kd.ops.LayerWeights(gamma1=ones, beta1=ones, kernel1=kernel).kernel1.shape  # a layer without bottleneck
        TensorShape([3, 3, 6, 4])
    """

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

    Examples:
        >>> kd.ops.BlockStatistics(features=(tf.zeros(6), tf.ones(6)), bottlenecks=()).bottlenecks
        ()
    """

    features: tuple[tf.Tensor, tf.Tensor]
    bottlenecks: tuple[tuple[tf.Tensor, tf.Tensor], ...] = ()


def dense_block(
    x: Tensor,
    layers: Sequence[LayerWeights],
    epsilon: float,
    statistics: BlockStatistics | None = None,
    dropout: Dropout | None = None,
) -> tuple[Tensor, BlockStatistics]:
    """Runs a dense block in training, with a hand-written gradient.

    Kept for the backward pass are the features, the bottlenecks' inputs to their normalisation, and the statistics;
    everything of size depth x channels is computed again. Second derivatives are refused.

    Args:
        x: x_0, `(batch, ..., channels)`: signals, images or volumes.
        layers: one `LayerWeights` per layer.
        epsilon: added to variances.
        statistics: the `BlockStatistics` to normalise with, as constants; None computes the batch's.
        dropout: a `Dropout` for the outputs of all convolutions, or None.

    Returns:
        `(features, statistics)`: all feature maps `(batch, ..., channels + layers * k)`, x_0 first, and the
        `BlockStatistics` that were used, as constants.

    Examples:
        >>> layer = kd.ops.LayerWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)))
        >>> features, statistics = kd.ops.dense_block(tf.ones((2, 8, 8, 6)), [layer], epsilon=1e-5)
        >>> features.shape, statistics.features[0].shape
        (TensorShape([2, 8, 8, 10]), TensorShape([6]))

    Source: the paper, equation 2 and section 3; statistics are shared by all readers of a feature.
    """
    size = 3 if layers[0].kernel2 is None else 6
    used: list[Any] = []  # among the outputs below, a tape would make zeros for each

    @tf.custom_gradient
    def block(*inputs):
        x, *weights = inputs
        layers = [LayerWeights(*weights[i : i + size]) for i in range(0, len(weights), size)]
        forward, backward = passes(_forward, dense_block_gradient)
        features, found, standards, readers = forward(x, layers, epsilon, statistics, dropout)
        used.append(found)

        def gradient(upstream):
            gradients = backward(
                upstream, features, standards, readers, layers, dropout, batch_statistics=statistics is None
            )
            return once(gradients, upstream, *inputs)

        return features, gradient

    features = block(x, *(weight for layer in layers for weight in layer[:size]))
    return features, tf.nest.map_structure(tf.stop_gradient, used[0])


def dense_block_inference(
    x: Tensor, layers: Sequence[LayerWeights], epsilon: float, statistics: BlockStatistics
) -> Tensor:
    """Runs a dense block with the given `BlockStatistics`; arguments and features as in `dense_block`.

    TensorFlow differentiates it, as often as one likes: nothing is done in place.

    Examples:
        >>> layer = kd.ops.LayerWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)))
        >>> statistics = kd.ops.BlockStatistics((tf.zeros(6), tf.ones(6)), ())
        >>> kd.ops.dense_block_inference(tf.ones((2, 8, 8, 6)), [layer], 1e-5, statistics).shape
        TensorShape([2, 8, 8, 10])
    """
    for index, weights in enumerate(layers):
        mean, variance = (values[: x.shape[-1]] for values in statistics.features)
        y = affine_relu(x, *scale_and_shift(weights.gamma1, weights.beta1, mean, variance, epsilon))
        y = convolve(y, weights.kernel1)
        if weights.kernel2 is not None:
            norm = weights.gamma2, weights.beta2, *statistics.bottlenecks[index]
            y = convolve(affine_relu(y, *scale_and_shift(*norm, epsilon)), weights.kernel2)
        x = tf.concat([x, y], -1)
    return x


def _forward(x, layers, epsilon, statistics, dropout):
    """-> (features, statistics, the `standardisation` of each feature map that is read, one `Reader` per layer)."""
    dropout = dropout or (lambda tensor, index: tensor)
    growth_rate = layers[0].kernel1.shape[-1] if layers[0].kernel2 is None else layers[0].kernel2.shape[-1]
    features, newest = forms().with_room(x, x.shape[-1] + len(layers) * growth_rate), x
    images = forms().images_in_a_slice(features)
    born, standards, found, readers = [], [], [], []
    measure, narrow = traced_once(_measure), traced_once(_narrow)
    for index, weights in enumerate(layers):
        channels = weights.gamma1.shape[0]
        known = statistics and tuple(values[channels - newest.shape[-1] : channels] for values in statistics.features)
        used, standard = measure(newest, epsilon, known)  # only of what was born since the last reader
        born.append(used)
        standards.append(standard)
        norm = Normalization.of(weights.gamma1, weights.beta1, tf.concat(standards, 1))
        readers.append(Reader(norm))
        y = _read(features, images, norm, weights.kernel1)
        if weights.kernel2 is not None:
            y = dropout(y, 2 * index)
            known = statistics and statistics.bottlenecks[index]
            bottleneck, (y, norm, used) = y, narrow(y, weights.gamma2, weights.beta2, weights.kernel2, epsilon, known)
            found.append(used)
            readers[-1] = readers[-1]._replace(bottleneck=bottleneck, bottleneck_norm=norm)
        newest = dropout(y, 2 * index + 1)
        features = forms().append(features, channels, newest)
    used = BlockStatistics(tuple(tf.concat(values, 0) for values in zip(*born, strict=True)), tuple(found))
    return features, used, standards, readers


def _measure(x, epsilon, known):
    """The statistics of x, or those that are known -> (these, its `standardisation`)."""
    mean, variance = known or moments(x)
    return (mean, variance), standardisation(mean, variance, epsilon)


def _narrow(x, gamma, beta, kernel, epsilon, known):
    """A bottleneck's normalisation, ReLU and convolution to new features -> (those, the norm, the statistics)."""
    statistics, standard = _measure(x, epsilon, known)
    norm = Normalization.of(gamma, beta, standard)
    return convolve(forms().affine_relu(x, norm.scale, norm.shift), kernel), norm, statistics


def _read(features, images, norm, kernel):
    """One layer's normalisation, ReLU and first convolution of the features before it."""
    channels = norm.scale.shape[0]

    def read(start):
        x = slice_of(features, start, images, channels)
        return convolve(forms().affine_relu(x, norm.scale, norm.shift), kernel)

    if images is None:
        return read(None)

    def put_slice(start, y):
        return [put_in_place(y, start, read(start))]

    shape = [*sizes(features)[:-1], kernel.shape[-1]]
    (y,) = over_slices(features, images, put_slice, tf.zeros(shape, features.dtype))
    return y
