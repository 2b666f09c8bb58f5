"""Batch normalisation in two halves: statistics belong to features, scale and shift belong to readers."""

import tensorflow as tf


def moments(x):
    """Mean and (population) variance of each channel.

    Args:
        x: tensor `(batch, height, width, channels)`.

    Returns:
        `(mean, variance)`, each `(channels,)`, in float32 or wider.
    """
    return tf.nn.moments(wide(x), [0, 1, 2])


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


def wide(x):
    """`x` in float32, or as it is where it is that wide already."""
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x
