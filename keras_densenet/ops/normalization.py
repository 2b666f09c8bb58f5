"""Batch normalisation in two halves, statistics of features and the scale and shift of a reader, and its ReLU."""

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


def scale_and_shift(gamma, beta, mean, variance, epsilon):
    """The affine map that one reader's batch normalisation is: `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Args:
        gamma, beta: the reader's own, `(channels,)`.
        mean, variance: the features', `(channels,)`.
        epsilon: added to the variance.

    Returns:
        `(scale, shift)`, each `(channels,)`, so that the result is `scale * x + shift`.
    """
    scale = gamma * tf.math.rsqrt(variance + epsilon)
    return scale, beta - scale * mean


def affine_relu(x, scale, shift):
    """`relu(scale * x + shift)` per channel, computed in float32 or wider and returned in the dtype of `x`."""
    return tf.cast(tf.nn.relu(wide(x) * scale + shift), x.dtype)


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
        statistics = moments(x)

        def gradient(upstream, *_):
            upstream, again = barrier([upstream, x])
            affine = after(upstream, *scale_and_shift(gamma, beta, *statistics, epsilon))
            m, *sums = pass_relu(upstream, again, *affine, statistics[0])
            dx, dgamma = norm_gradient(m, *sums, again, gamma, statistics, epsilon, batch_statistics=True)
            return once(dx, dgamma, sums[0])

        return (affine_relu(x, *scale_and_shift(gamma, beta, *statistics, epsilon)), *statistics), gradient

    y, *statistics = run(x, *map(tf.convert_to_tensor, (gamma, beta)))
    return y, tuple(map(tf.stop_gradient, statistics))


def pass_relu(upstream, x, scale, shift, mean):
    """Takes a gradient back through `affine_relu`'s ReLU.

    Args:
        upstream, x: `(batch, height, width, channels)`.
        scale, shift: of `affine_relu`.
        mean: of `x`.

    Returns:
        `(m, sum of m, sum of m * (x - mean))`: the gradient with respect to `scale * x + shift`, and its two sums over
        pixels `(channels,)`, in float32 or wider.
    """
    passes, upstream = wide(x) * scale + shift > 0, wide(upstream)
    m = tf.where(passes, upstream, 0)
    with_deviation = tf.where(passes, upstream * (wide(x) - mean), 0)  # no product at the root, as in `moments`
    return m, tf.reduce_sum(m, _PIXELS), tf.reduce_sum(with_deviation, _PIXELS)


def norm_gradient(m, sum1, sum2, x, gamma, statistics, epsilon, batch_statistics):
    """Takes a gradient back through the normalisation of a tensor that has one reader.

    Args:
        m, sum1, sum2: what `pass_relu` returned.
        x: the tensor that was normalised.
        gamma: its reader's.
        statistics: its `(mean, variance)`.
        epsilon: added to the variance.
        batch_statistics: whether the statistics are functions of `x`, or constants.

    Returns:
        The gradients with respect to `x` and `gamma`.
    """
    mean, variance = statistics
    rstd = tf.math.rsqrt(variance + epsilon)
    dx = m * (gamma * rstd)
    if batch_statistics:
        n = tf.cast(tf.reduce_prod(tf.shape(x)[:3]), m.dtype)
        all1, all2 = mean_over_replicas([sum1, sum2])
        dx -= gamma * rstd * all1 / n + (wide(x) - mean) * (gamma * rstd**3 * all2 / n)
    return tf.cast(dx, x.dtype), sum2 * rstd


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
