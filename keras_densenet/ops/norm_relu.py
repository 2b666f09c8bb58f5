"""Batch statistics, and BN-ReLU in training for a tensor that has one reader."""

from typing import Any

import tensorflow as tf

from keras_densenet.ops.forms import forms, passes
from keras_densenet.ops.normalization import Normalization, once, standardisation, wide
from keras_densenet.ops.replicas import is_synchronised, mean_over_replicas
from keras_densenet.types import Tensor


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) variance of each channel.

    Args:
        x: tensor `(batch, ..., channels)`.

    Returns:
        `(mean, variance)`, each `(channels,)`, in float32 or wider.
    """
    own, variance = forms().moments(wide(x))
    if not is_synchronised():
        return own, variance
    mean = mean_over_replicas(own)
    return mean, mean_over_replicas(variance + tf.square(own - mean))


def norm_relu(
    x: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, dtype: Any = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Normalises a tensor that has one reader with the batch's statistics; ReLU follows.

    Kept for the backward pass are `x` and the statistics. Second derivatives are refused.

    Args:
        x: `(batch, ..., channels)`.
        gamma, beta: `(channels,)`.
        epsilon: added to the variance.
        dtype: of y, whose gradient is taken in the dtype of `x`. Default: that of `x`.

    Returns:
        `(y, statistics)`: y like `x`, and the `(mean, variance)` that were used, as constants.

    Examples:
        >>> y, (mean, variance) = kd.ops.norm_relu(tf.random.normal((2, 4, 4, 3)), tf.ones(3), tf.zeros(3), 1e-5)
        >>> y.shape, mean.shape
        (TensorShape([2, 4, 4, 3]), TensorShape([3]))
    """
    statistics: list[Any] = []  # among the outputs below, a tape would make zeros for each

    @tf.custom_gradient
    def run(x, gamma, beta):
        forward, backward = passes(_forward, _backward)
        y, mean, variance, used = forward(x, gamma, beta, epsilon, dtype)
        statistics.extend((mean, variance))

        def gradient(upstream):
            return once(backward(upstream, x, used), upstream, x, gamma, beta)

        return y, gradient

    y = run(x, *map(tf.convert_to_tensor, (gamma, beta)))
    return y, tuple(map(tf.stop_gradient, statistics))


def _forward(x, gamma, beta, epsilon, dtype):
    mean, variance = moments(x)
    used = Normalization.of(gamma, beta, standardisation(mean, variance, epsilon))
    return forms().affine_relu(x, used.scale, used.shift, dtype), mean, variance, used


def _backward(upstream, x, used):
    upstream, again = forms().barrier([tf.cast(upstream, x.dtype), x])
    late = used._replace(shift=forms().after(upstream, used.shift))
    return forms().through_norm_relu(upstream, again, late, batch_statistics=True)
