"""The gradient of a dense block in training, written by hand.

With reader l seeing C_l channels x, `s = gamma * rstd`, `t = beta - s * mean`, and `m` the gradient that passes its
ReLU: the features' gradient G gathers `m * s`, and what flows through a feature's mean and variance needs nothing but
the readers' sums over pixels, S1 = sum m and S2 = sum m * (x - mean), which are their gradients of beta and gamma
anyway. So it is applied once per feature, when its last reader is done.
"""

import tensorflow as tf

from keras_densenet.ops.convolution import convolve_gradient
from keras_densenet.ops.normalization import affine_relu, norm_gradient, once, pass_relu, scale_and_shift, wide
from keras_densenet.ops.replicas import mean_over_replicas
from keras_densenet.ops.xla import add_in_place, barrier, is_compiling

_SLICE_ROWS = 2048  # pixels in a slice, whose working set stays in cache; from 512 to 16,384 it hardly matters


def dense_block_gradient(upstream, features, bottlenecks, layers, statistics, epsilon, dropout, batch_statistics):
    """Gradients of `dense_block`.

    Args:
        upstream: gradient of the features, of their shape.
        features: all feature maps `(batch, height, width, channels)`.
        bottlenecks: what each bottleneck's normalisation reads, `(batch, height, width, 4k)`.
        layers: `LayerWeights`.
        statistics: the `BlockStatistics` that were used.
        epsilon: added to variances.
        dropout: as in `dense_block`.
        batch_statistics: whether the statistics are functions of the features, or constants.

    Returns:
        A list: the gradient of x_0, then those of each layer's weights.
    """
    # Without the barrier XLA merges the recomputation with the forward pass and keeps the forward's copies alive.
    total, features, *bottlenecks = barrier([upstream, features, *bottlenecks])
    n = tf.cast(tf.reduce_prod(tf.shape(features)[:3]), wide(features).dtype)
    mean, variance = statistics.features
    rstd = tf.math.rsqrt(variance + epsilon)
    sum1, sum2 = tf.zeros_like(mean), tf.zeros_like(mean)  # of s * S1 and of gamma * dgamma, over the readers so far
    dropout = dropout or (lambda tensor, index: tensor)

    def born(start, end):
        """The gradient of features whose readers are all done."""
        g = total[..., start:end]
        if batch_statistics and start < mean.shape[0]:
            part = slice(start, end)
            all1, all2 = mean_over_replicas([sum1[part], sum2[part]])
            q = all2 * tf.square(rstd[part]) / n
            g = tf.cast(wide(g) - all1 / n - (wide(features[..., start:end]) - mean[part]) * q, g.dtype)
        return g

    gradients, end = [], features.shape[-1]
    for index in reversed(range(len(layers))):
        weights = layers[index]
        channels = weights.gamma1.shape[0]
        d = dropout(born(channels, end), 2 * index + 1)
        later = []
        if weights.kernel2 is not None:
            d, *later = _bottleneck_gradient(
                d, bottlenecks[index], weights, statistics.bottlenecks[index], epsilon, batch_statistics
            )
            d = dropout(d, 2 * index)
        scale, shift = scale_and_shift(weights.gamma1, weights.beta1, mean[:channels], variance[:channels], epsilon)
        total, dkernel, s1, s2 = _read(total, features, d, scale, shift, mean[:channels], weights.kernel1)
        dgamma = s2 * rstd[:channels]
        rest = [[0, mean.shape[0] - channels]]
        sum1 += tf.pad(scale * s1, rest)
        sum2 += tf.pad(weights.gamma1 * dgamma, rest)
        gradients = [dgamma, s1, dkernel, *later, *gradients]
        end = channels
    return list(once(born(0, end), *gradients))


def _bottleneck_gradient(d, z, weights, statistics, epsilon, batch_statistics):
    """Through the 3x3 convolution, its ReLU and its normalisation -> gradients of (z, gamma2, beta2, kernel2)."""
    affine = scale_and_shift(weights.gamma2, weights.beta2, *statistics, epsilon)
    da, dkernel = convolve_gradient(affine_relu(z, *affine), weights.kernel2, d)
    m, s1, s2 = pass_relu(da, z, *affine, statistics[0])
    dz, dgamma = norm_gradient(m, s1, s2, z, weights.gamma2, statistics, epsilon, batch_statistics)
    return dz, dgamma, s1, dkernel


def _read(total, features, d, scale, shift, mean, kernel):
    """One reader of the features -> (total with its share added, gradient of its kernel, S1, S2)."""

    def read(x, d):
        da, dkernel = convolve_gradient(affine_relu(x, scale, shift), kernel, d)
        m, s1, s2 = pass_relu(da, x, scale, shift, mean)
        return tf.cast(m * scale, x.dtype), wide(dkernel), s1, s2

    channels = scale.shape[0]
    if not is_compiling():
        share, dkernel, s1, s2 = read(features[..., :channels], d)
        return total[..., :channels] + share, tf.cast(dkernel, kernel.dtype), s1, s2

    # As plain sums XLA would keep every reader's share alive and add them late.
    count = _slice_count(features)
    parts, d = _cut(features, count), _cut(d, count)

    def add_slice(i, total, *sums):
        share, *more = read(parts[i, ..., :channels], d[i])
        return (i + 1, add_in_place(total, i, share), *(a + b for a, b in zip(sums, more, strict=True)))

    start = (0, _cut(total, count), tf.zeros(kernel.shape, scale.dtype), tf.zeros_like(scale), tf.zeros_like(scale))
    _, cut, dkernel, s1, s2 = tf.while_loop(lambda i, *_: i < count, add_slice, start)
    total = tf.ensure_shape(tf.reshape(cut, tf.shape(features)), features.shape)
    return total, tf.cast(dkernel, kernel.dtype), s1, s2


def _cut(x, count):
    """`(batch, height, width, channels)` -> `(count, batch / count, height, width, channels)`."""
    shape = tf.shape(x)
    return tf.reshape(x, tf.concat([[count, shape[0] // count], shape[1:3], [x.shape[-1]]], 0))


def _slice_count(x):
    """How many slices of whole images to work in: on a GPU one, else the divisor of the batch that suits the cache."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    batch, height, width, _ = x.shape
    if None not in (batch, height, width):
        wanted = max(1, batch * height * width // _SLICE_ROWS)
        return max(count for count in range(1, batch + 1) if batch % count == 0 and count <= wanted)
    batch, height, width, _ = tf.unstack(tf.shape(x))  # constants by the time XLA compiles
    counts = tf.range(1, batch + 1)
    fits = (batch % counts == 0) & (counts <= batch * height * width // _SLICE_ROWS)
    return tf.reduce_max(tf.where(fits, counts, 1))
