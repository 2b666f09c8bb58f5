"""The gradient of a dense block in training, written by hand.

With reader l seeing C_l channels x, `s = gamma * rstd`, and `m` the gradient that passes its ReLU: the features'
gradient G gathers `m * s`, and what flows through a feature's mean and variance needs nothing but the readers' sums
over pixels, of m and of m * (x - mean) * rstd, which are their gradients of beta and gamma anyway. So it is applied
once per feature, when its last reader is done.
"""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import gradient_of_input, gradient_of_kernel
from keras_densenet.ops.normalization import (
    Normalization,
    affine_relu,
    norm_gradient,
    once,
    pass_relu,
    through_statistics,
    wide,
)
from keras_densenet.ops.replicas import mean_over_replicas
from keras_densenet.ops.shapes import sizes
from keras_densenet.ops.xla import add_in_place, after, barrier, is_compiling

_SLICE_NUMBERS = 2**19  # of the features, 2 MiB


class Reader(NamedTuple):
    """What a layer leaves for its backward pass: how it read the features, and its bottleneck."""

    norm: Normalization
    bottleneck: tf.Tensor | None = None
    bottleneck_norm: Normalization | None = None


def dense_block_gradient(upstream, features, statistics, readers, layers, dropout, batch_statistics):
    """Gradients of `dense_block`.

    Args:
        upstream: gradient of the features, of their shape.
        features: all feature maps `(batch, height, width, channels)`.
        statistics: `(mean, inverse deviation)` of each feature map that a layer reads, x_0 first.
        readers: one `Reader` per layer.
        layers: `LayerWeights`.
        dropout: as in `dense_block`.
        batch_statistics: whether the statistics are functions of the features, or constants.

    Returns:
        A list: the gradient of x_0, then those of each layer's weights.
    """
    # Without the barrier XLA merges the recomputation with the forward pass and keeps the forward's copies alive.
    total, features, *bottlenecks = barrier([upstream, features, *(r.bottleneck for r in readers if r.bottleneck_norm)])
    images = _images_in_a_slice(features) if is_compiling() else None
    read = layers[-1].gamma1.shape[0]
    sums = tf.zeros((2, read), layers[-1].gamma1.dtype)  # of s * dbeta and of s * dgamma, over the readers so far
    dropout = dropout or (lambda tensor, index: tensor)

    def born(feature, start, end):
        """The gradient of a feature map whose readers are all done."""
        g = total[..., start:end]
        if batch_statistics and start < read:
            both = tf.unstack(mean_over_replicas(sums[:, start:end]))
            g = tf.cast(wide(g) - through_statistics(features[..., start:end], *statistics[feature], *both), g.dtype)
        return g

    gradients, end = [], features.shape[-1]
    for index in reversed(range(len(layers))):
        weights, reader = layers[index], readers[index]
        channels = weights.gamma1.shape[0]
        d = dropout(born(index + 1, channels, end), 2 * index + 1)
        later = []
        if weights.kernel2 is not None:
            d, *later = _bottleneck_gradient(
                d, bottlenecks[index], reader.bottleneck_norm, weights.kernel2, batch_statistics
            )
            d = dropout(d, 2 * index)
        total, dkernel, dbeta, dgamma = _read(total, features, images, d, reader.norm, weights.kernel1)
        scaled = tf.stack([dbeta, dgamma]) * reader.norm.scale
        sums += tf.pad(scaled, [[0, 0], [0, read - channels]])
        gradients = [dgamma, dbeta, dkernel, *later, *gradients]
        end = channels
    return list(once(born(0, 0, end), *gradients))


def _bottleneck_gradient(d, z, norm, kernel, batch_statistics):
    """Through the 3x3 convolution, its ReLU and its normalisation -> gradients of (z, gamma2, beta2, kernel2)."""
    m, dkernel, dbeta, dgamma = _through_convolution(d, z, norm, kernel)
    return norm_gradient(m, dbeta, dgamma, z, norm, batch_statistics), dgamma, dbeta, dkernel


def _through_convolution(d, x, norm, kernel, recompute_late=True):
    """Through a convolution and the ReLU before it -> (m, gradients of the kernel, beta and gamma)."""
    da = gradient_of_input(kernel, d)
    late = norm._replace(shift=after(da, norm.shift)) if recompute_late else norm
    dkernel = gradient_of_kernel(affine_relu(x, late.scale, late.shift), d, kernel.shape[0])
    m, dbeta, dgamma = pass_relu(da, x, late)
    return m, dkernel, dbeta, dgamma


def _read(total, features, images, d, norm, kernel):
    """One reader of the features -> (total with its share added, gradients of its kernel, beta and gamma)."""
    channels = norm.scale.shape[0]
    loops = isinstance(images, int) and images < features.shape[0]  # for certain; one turn is no loop to XLA

    def read(x, d):
        m, dkernel, dbeta, dgamma = _through_convolution(d, x, norm, kernel, recompute_late=not loops)
        return tf.cast(m * norm.scale, x.dtype), wide(dkernel), dbeta, dgamma

    if images is None:
        share, dkernel, dbeta, dgamma = read(features[..., :channels], d)
        return total[..., :channels] + share, tf.cast(dkernel, kernel.dtype), dbeta, dgamma

    # In slices, whose working set stays in cache, and in a loop: plain sums XLA would add late and keep all shares.
    batch, *image, _ = sizes(features)

    def add_slice(first, total, *sums):
        start = tf.stack([first, 0, 0, 0])
        x, part = (tf.slice(t, start, [images, *image, c]) for t, c in ((features, channels), (d, d.shape[-1])))
        share, *more = read(x, part)
        sums = (tf.where(first > 0, a, 0) + b for a, b in zip(sums, more, strict=True))
        return (first + images, add_in_place(total, start, share), *sums)

    start = (0, total, wide(kernel), norm.scale, norm.scale)  # of these sums nothing but the shape is used
    _, total, dkernel, dbeta, dgamma = tf.while_loop(lambda first, *_: first < batch, add_slice, start)
    return total, tf.cast(dkernel, kernel.dtype), dbeta, dgamma


def _images_in_a_slice(x):
    """How many images to work on at a time: on a GPU all, else a divisor of the batch that suits the cache."""
    batch, height, width, channels = sizes(x)
    if tf.config.list_physical_devices("GPU"):
        return batch
    wanted = batch * height * width // max(1, _SLICE_NUMBERS // channels)
    if x.shape.is_fully_defined():
        return batch // max(count for count in range(1, batch + 1) if batch % count == 0 and count <= max(wanted, 1))
    counts = tf.range(1, batch + 1)  # constants by the time XLA compiles
    return batch // tf.reduce_max(tf.where((batch % counts == 0) & (counts <= wanted), counts, 1))
