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
from keras_densenet.ops.xla import add_in_place, after, barrier, is_compiling

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
    slices = _Slices(features)
    total, cut_features = slices.cut(total), slices.cut(features)
    n = tf.cast(tf.reduce_prod(slices.joined), wide(features).dtype)
    mean, variance = statistics.features
    rstd = tf.math.rsqrt(variance + epsilon)
    sum1, sum2 = tf.zeros_like(mean), tf.zeros_like(mean)  # of s * S1 and of gamma * dgamma, over the readers so far
    dropout = dropout or (lambda tensor, index: tensor)

    def born(start, end):
        """The gradient of features whose readers are all done."""
        g = slices.join(total[..., start:end])
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
        affine = scale_and_shift(weights.gamma1, weights.beta1, mean[:channels], variance[:channels], epsilon)
        affine = after(d, *affine)
        total, dkernel, s1, s2 = _read(total, cut_features, slices, d, *affine, mean[:channels], weights.kernel1)
        dgamma = s2 * rstd[:channels]
        rest = [[0, mean.shape[0] - channels]]
        sum1 += tf.pad(affine[0] * s1, rest)
        sum2 += tf.pad(weights.gamma1 * dgamma, rest)
        gradients = [dgamma, s1, dkernel, *later, *gradients]
        end = channels
    return list(once(born(0, end), *gradients))


def _bottleneck_gradient(d, z, weights, statistics, epsilon, batch_statistics):
    """Through the 3x3 convolution, its ReLU and its normalisation -> gradients of (z, gamma2, beta2, kernel2)."""
    affine = after(d, *scale_and_shift(weights.gamma2, weights.beta2, *statistics, epsilon))
    da, dkernel = convolve_gradient(affine_relu(z, *affine), weights.kernel2, d)
    m, s1, s2 = pass_relu(da, z, *affine, statistics[0])
    dz, dgamma = norm_gradient(m, s1, s2, z, weights.gamma2, statistics, epsilon, batch_statistics)
    return dz, dgamma, s1, dkernel


def _read(total, features, slices, d, scale, shift, mean, kernel):
    """One reader of the features -> (total with its share added, gradient of its kernel, S1, S2)."""

    def read(x, d):
        da, dkernel = convolve_gradient(affine_relu(x, scale, shift), kernel, d)
        m, s1, s2 = pass_relu(da, x, scale, shift, mean)
        return tf.cast(m * scale, x.dtype), wide(dkernel), s1, s2

    channels = scale.shape[0]
    if slices.count is None:
        share, dkernel, s1, s2 = read(features[..., :channels], d)
        return total[..., :channels] + share, tf.cast(dkernel, kernel.dtype), s1, s2

    # As plain sums XLA would keep every reader's share alive and add them late.
    d = slices.cut(d)

    def add_slice(i, total, *sums):
        share, *more = read(features[i, ..., :channels], d[i])
        return (i + 1, add_in_place(total, i, share), *(a + b for a, b in zip(sums, more, strict=True)))

    start = (0, total, tf.zeros(kernel.shape, scale.dtype), tf.zeros_like(scale), tf.zeros_like(scale))
    _, total, dkernel, s1, s2 = tf.while_loop(lambda i, *_: i < slices.count, add_slice, start)
    return total, tf.cast(dkernel, kernel.dtype), s1, s2


class _Slices:
    """Cuts batches into slices of whole images, whose working set stays in cache; without XLA leaves them whole."""

    def __init__(self, x):
        self.joined = tf.shape(x)[:3]
        self.count = _slice_count(x) if is_compiling() else None
        if self.count is not None:
            self._cut = tf.concat([[self.count, self.joined[0] // self.count], self.joined[1:]], 0)

    def cut(self, x):
        """`(batch, height, width, channels)` -> `(count, batch / count, height, width, channels)`."""
        return x if self.count is None else tf.reshape(x, tf.concat([self._cut, x.shape[-1:]], 0))

    def join(self, x):
        """The opposite of `cut`."""
        return x if self.count is None else tf.reshape(x, tf.concat([self.joined, x.shape[-1:]], 0))


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
