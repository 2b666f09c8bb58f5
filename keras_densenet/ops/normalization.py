"""Batch normalisation in two halves, statistics of features and the scale and shift of a reader, and its ReLU."""

from typing import NamedTuple

import tensorflow as tf

from keras_densenet.ops.replicas import mean_over_replicas
from keras_densenet.ops.xla import after, barrier

_PIXELS = (0, 1, 2)


def moments(x):
    """Mean and (population) variance of each channel.

    Args:
        x: tensor `(batch, height, width, channels)`.

    Returns:
        `(mean, variance)`, each `(channels,)`, in float32 or wider.
    """
    x = wide(x)
    mean = mean_over_replicas(tf.reduce_mean(x, _PIXELS))
    # XLA's fast kernel for sums over pixels is not used where what is summed is a product: hence the maximum.
    return mean, mean_over_replicas(tf.reduce_mean(tf.maximum(tf.square(x - mean), 0), _PIXELS))


class Normalization(NamedTuple):
    """One reader's batch normalisation with its numbers, all `(channels,)`: `scale * x + shift`."""

    mean: tf.Tensor
    rstd: tf.Tensor
    scale: tf.Tensor
    shift: tf.Tensor

    @classmethod
    def of(cls, gamma, beta, mean, rstd):
        """What `gamma * (x - mean) * rstd + beta` is; `rstd` is what `inverse_deviation` gives."""
        scale = gamma * rstd
        return cls(mean, rstd, scale, beta - scale * mean)


def inverse_deviation(variance, epsilon):
    """`1 / sqrt(variance + epsilon)`."""
    return tf.math.rsqrt(variance + epsilon)


def scale_and_shift(gamma, beta, mean, variance, epsilon):
    """The affine map that one reader's batch normalisation is: `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Args:
        gamma, beta: the reader's own, `(channels,)`.
        mean, variance: the features', `(channels,)`.
        epsilon: added to the variance.

    Returns:
        `(scale, shift)`, each `(channels,)`, so that the result is `scale * x + shift`.
    """
    return Normalization.of(gamma, beta, mean, inverse_deviation(variance, epsilon))[2:]


def affine_relu(x, scale, shift):
    """`relu(scale * x + shift)` per channel, computed in float32 or wider and returned in the dtype of `x`."""
    # TensorFlow hands its own ReLU to XLA by way of a translation that is slow, each time anew.
    return tf.cast(tf.maximum(tf.zeros([], scale.dtype), wide(x) * scale + shift), x.dtype)


def norm_relu(x, gamma, beta, epsilon):
    """Normalises a tensor that has one reader with the batch's statistics; ReLU follows.

    Kept for the backward pass are `x` and the statistics. Second derivatives are refused.

    Args:
        x: `(batch, height, width, channels)`.
        gamma, beta: `(channels,)`.
        epsilon: added to the variance.

    Returns:
        `(y, statistics)`: y like `x`, and the `(mean, variance)` that were used, as constants.
    """

    @tf.custom_gradient
    def run(x, gamma, beta):
        mean, variance = moments(x)
        used = Normalization.of(gamma, beta, mean, inverse_deviation(variance, epsilon))

        def gradient(upstream, *_):
            upstream, again = barrier([upstream, x])
            late = used._replace(shift=after(upstream, used.shift))
            m, dbeta, dgamma = pass_relu(upstream, again, late)
            return once(norm_gradient(m, dbeta, dgamma, again, used, batch_statistics=True), dgamma, dbeta)

        return (affine_relu(x, used.scale, used.shift), mean, variance), gradient

    y, *statistics = run(x, *map(tf.convert_to_tensor, (gamma, beta)))
    return y, tuple(map(tf.stop_gradient, statistics))


def pass_relu(upstream, x, norm):
    """Takes a gradient back through the ReLU that follows a normalisation.

    Args:
        upstream, x: `(batch, height, width, channels)`.
        norm: the `Normalization`.

    Returns:
        `(m, dbeta, dgamma)`: the gradient with respect to the ReLU's input, and those of beta and gamma, which are the
        sums over pixels of `m` and of `m * (x - mean) * rstd`, in float32 or wider.
    """
    x, upstream = wide(x), wide(upstream)
    passes = x * norm.scale + norm.shift > 0
    m = tf.where(passes, upstream, 0)
    with_deviation = tf.where(passes, upstream * ((x - norm.mean) * norm.rstd), 0)  # no product at the root: `moments`
    return m, tf.reduce_sum(m, _PIXELS), tf.reduce_sum(with_deviation, _PIXELS)


def norm_gradient(m, dbeta, dgamma, x, norm, batch_statistics):
    """Takes a gradient back through the normalisation of a tensor that has one reader.

    Args:
        m, dbeta, dgamma: what `pass_relu` returned.
        x: the tensor that was normalised.
        norm: its `Normalization`.
        batch_statistics: whether the statistics are functions of `x`, or constants.

    Returns:
        The gradient with respect to `x`.
    """
    if batch_statistics:
        m -= through_statistics(x, norm.mean, norm.rstd, *mean_over_replicas([dbeta, dgamma]))
    return tf.cast(m * norm.scale, x.dtype)


def through_statistics(x, mean, rstd, dbeta, dgamma):
    """What a gradient `m` loses because `mean` and `rstd` depend on `x`: their sums' shares in it, per pixel."""
    n = x.shape[:3].num_elements() or tf.cast(tf.reduce_prod(tf.shape(x)[:3]), mean.dtype)
    return (dbeta + (wide(x) - mean) * (rstd * dgamma)) / n


def wide(x):
    """`x` in float32, or as it is where it is that wide already."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x


@tf.custom_gradient
def once(*tensors):
    """Passes tensors through; whoever differentiates them a second time is told."""

    def refuse(*_):
        raise NotImplementedError(
            "Second derivatives are not supported in training. Call the model with training=False: it then normalises "
            "with its moving statistics and can be differentiated twice"
        )

    return tensors, refuse
