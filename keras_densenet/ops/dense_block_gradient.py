"""The gradient of a dense block in training, written by hand.

With reader l seeing C_l channels x, `s = gamma * rstd`, and `m` the gradient that passes its ReLU: the features'
gradient G gathers `m * s`, and what flows through a feature's mean and variance needs nothing but the readers' sums
over pixels, of m and of m * (x - mean) * rstd, which are their gradients of beta and gamma anyway. So it is applied
once per feature, when its last reader is done.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import tensorflow as tf

from keras_densenet.ops.convolution import gradient_of_input, gradient_of_kernel, is_matrix
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.forms import forms, traced_once
from keras_densenet.ops.normalization import (
    Normalization,
    affine_gradients,
    affine_relu,
    norm_gradient,
    pass_relu,
    per_pixel,
    sum_across,
    through_statistics,
    wide,
)
from keras_densenet.ops.slices import over_slices, slice_of
from keras_densenet.ops.xla import add_in_place
from keras_densenet.types import Tensor

if TYPE_CHECKING:
    from keras_densenet.ops.dense_block import LayerWeights


class Reader(NamedTuple):
    """What a layer leaves for its backward pass: how it read the features, and its bottleneck."""

    norm: Normalization
    bottleneck: tf.Tensor | None = None
    bottleneck_norm: Normalization | None = None


def dense_block_gradient(
    upstream: Tensor,
    features: Tensor,
    standards: Sequence[Tensor],
    readers: Sequence[Reader],
    layers: "Sequence[LayerWeights]",
    dropout: Dropout | None,
    batch_statistics: bool,
) -> list[Tensor]:
    """Gradients of `dense_block`.

    Args:
        upstream: gradient of the features, of their shape.
        features: all feature maps `(batch, ..., channels)`.
        standards: the `standardisation` of each feature map that a layer reads, x_0 first.
        readers: one `Reader` per layer.
        layers: `LayerWeights`.
        dropout: as in `dense_block`.
        batch_statistics: whether the statistics are functions of the features, or constants.

    Returns:
        A list: the gradient of x_0, then those of each layer's weights.
    """
    # Without the barrier XLA merges the recomputation with the forward pass and keeps the forward's copies alive.
    kept = [upstream, features, *(reader.bottleneck for reader in readers if reader.bottleneck_norm)]
    total, features, *bottlenecks = forms().barrier(kept)
    total, images = forms().gathered(total), forms().images_in_a_slice(features)
    read = layers[-1].gamma1.shape[0]
    sums = tf.zeros((2, read), layers[-1].gamma1.dtype)  # of s * dgamma and of s * dbeta, over the readers so far
    drop = dropout or (lambda tensor, index: tensor)
    through, without_shares = traced_once(_through if images is None else _through_later), traced_once(_without_shares)

    def born(feature, start, end):
        """The gradient of a feature map whose readers are all done."""
        g = total[..., start:end]
        if batch_statistics and start < read:
            g = without_shares(g, features[..., start:end], standards[feature], sums[:, start:end])
        return tf.cast(g, features.dtype)

    gradients: list[Tensor] = []
    end = features.shape[-1]
    for index in reversed(range(len(layers))):
        weights, reader = layers[index], readers[index]
        channels = weights.gamma1.shape[0]
        d = drop(born(index + 1, channels, end), 2 * index + 1)
        part, later = functools.partial(slice_of, d, images=images), []
        if weights.kernel2 is not None:
            z, norm = bottlenecks[index], reader.bottleneck_norm
            found, *later = through(d, z, norm, weights.kernel2, batch_statistics)
            part = _in_parts(found, z, images)
            if dropout:
                part = functools.partial(slice_of, dropout(part(None), 2 * index), images=images)
        total, dgamma, dbeta, dkernel = _read(total, features, images, part, reader.norm, weights.kernel1)
        scaled = tf.stack([dgamma, dbeta]) * reader.norm.scale
        sums += tf.pad(scaled, [[0, 0], [0, read - channels]])
        gradients = [dgamma, dbeta, dkernel, *later, *gradients]
        end = channels
    return [born(0, 0, end), *gradients]


def _without_shares(g, x, standard, sums):
    """What is left of the gradient of a feature map, whose statistics depend on it, once its readers are done."""
    dgamma, dbeta = tf.unstack(sums)
    return wide(g) - through_statistics(x, standard, *per_pixel(dgamma, dbeta, x))


def _in_parts(found, z, images):
    """A bottleneck's gradient from where a slice of it starts, for its reader to compute while that is in cache."""
    if images is None:
        return lambda start: found
    da, late, shares = found

    def part(start):
        x = slice_of(z, start, images)
        return norm_gradient(pass_relu(slice_of(da, start, images), x, late), x, late, shares)

    return part


def _through_later(d, z, norm, kernel, batch_statistics):
    """As `_through`, but instead of a gradient of z what that is computed from, slice by slice."""
    da, late, dkernel, across = _through_convolution(d, z, norm, kernel)
    dgamma, dbeta = affine_gradients(_along(kernel, dkernel), across, norm)
    return (da, late, per_pixel(dgamma, dbeta, z) if batch_statistics else None), dgamma, dbeta, dkernel


def _through(d, x, norm, kernel, batch_statistics):
    """Through a convolution, the ReLU before it and its normalisation -> gradients of (x, gamma, beta, kernel)."""
    da = gradient_of_input(kernel, d)
    late = norm._replace(shift=forms().after(da, norm.shift))
    a = forms().affine_relu(x, late.scale, late.shift)
    found = forms().through_norm_relu(da, x, late, batch_statistics, a)
    return *found, gradient_of_kernel(a, d, kernel.shape[:-2])


def _through_convolution(d, x, norm, kernel, recompute_late=True):
    """Through a convolution -> (gradient of its input, the norm to recompute that with, dkernel, `sum_across`)."""
    da = gradient_of_input(kernel, d)
    late = norm._replace(shift=forms().after(da, norm.shift)) if recompute_late else norm
    dkernel = gradient_of_kernel(affine_relu(x, late.scale, late.shift), d, kernel.shape[:-2])
    return da, late, dkernel, sum_across(da, x, late)


def _along(kernel, dkernel):
    """The sum of a kernel times its gradient, for each channel it reads."""
    *window, channels, filters = range(len(kernel.shape))
    if len(window) == 3:  # a volume's kernels are large, and would all be turned early
        kernel = forms().after(dkernel, kernel)

    def rows(k):
        k = wide(k) if is_matrix(k) else tf.transpose(wide(k), (channels, *window, filters))
        return tf.reshape(k, (kernel.shape[channels], 1, -1))

    found = tf.matmul(rows(kernel), rows(dkernel), transpose_b=True)  # no kernels to compile, as a sum would have
    return tf.squeeze(found, (1, 2))


def _read(total, features, images, d, norm, kernel):
    """One reader of the features -> (total with its share added, gradients of its gamma, beta and kernel).

    Its upstream gradient `d` is a function of where a slice of it starts, None for the whole.
    """
    channels = norm.scale.shape[0]
    if images is None:
        upstream = d(None)
        x = forms().not_before(upstream, features)[..., :channels]
        share, *found = _through(upstream, x, norm, kernel, batch_statistics=False)
        return forms().add_to_first(total, share), *found
    loops = isinstance(images, int)  # for certain: one turn is no loop to XLA

    def read(start):
        x = slice_of(features, start, images, channels)
        da, late, dkernel, across = _through_convolution(d(start), x, norm, kernel, recompute_late=not loops)
        return tf.cast(pass_relu(da, x, late) * norm.scale, total.dtype), wide(dkernel), across

    def finish(total, dkernel, across):
        return total, *affine_gradients(_along(kernel, dkernel), across, norm), tf.cast(dkernel, kernel.dtype)

    # In a loop: plain sums XLA would add late and keep all shares.
    def add_slice(start, total, *sums):
        share, *more = read(start)
        is_later = start[0] > 0
        later = (tf.where(is_later, a, 0) + b for a, b in zip(sums, more, strict=True))
        return add_in_place(total, start, share), *later

    initial = (total, wide(kernel), norm.scale)  # of these sums nothing but the shape is used
    return finish(*over_slices(features, images, add_slice, *initial))
