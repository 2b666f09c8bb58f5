"""Batch normalisation in two halves, statistics of features and the scale and shift of a reader, and its ReLU."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from keras_densenet.ops.replicas import mean_over_replicas
from keras_densenet.ops.shapes import pixels
from keras_densenet.types import Tensor


class Normalization(NamedTuple):
    """One reader's batch normalisation with its numbers, all `(channels,)`: `scale * x + shift`.

    `standard`, `(2, channels)`, is what `standardisation` gives.
    """

    gamma: tf.Tensor
    beta: tf.Tensor
    standard: tf.Tensor
    scale: tf.Tensor
    shift: tf.Tensor

    @classmethod
    def of(cls, gamma: Tensor, beta: Tensor, standard: Tensor) -> "Normalization":
        """What `gamma * standardised(x, standard) + beta` is."""
        mean, rstd = tf.unstack(standard)
        scale = gamma * rstd
        return cls(gamma, beta, standard, scale, beta - scale * mean)


def standardisation(mean: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    """The mean and `1 / sqrt(variance + epsilon)`, `(2, channels)`."""
    rstd = (variance + epsilon) ** -0.5  # `rsqrt` goes to XLA as ReLU does, below
    return tf.stack([tf.convert_to_tensor(mean), rstd])


def standardised(x: Tensor, standard: Tensor) -> Tensor:
    """`(x - mean) / sqrt(variance + epsilon)`, in float32 or wider."""
    mean, rstd = tf.unstack(standard)
    return (wide(x) - mean) * rstd


def scale_and_shift(
    gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The affine map that one reader's batch normalisation is: `gamma * (x - mean) / sqrt(variance + epsilon) + beta`.

    Args:
        gamma, beta: the reader's own, `(channels,)`.
        mean, variance: the features', `(channels,)`.
        epsilon: added to the variance.

    Returns:
        `(scale, shift)`, each `(channels,)`, so that the result is `scale * x + shift`.

    Examples:
        >>> gamma, beta, mean, variance = tf.constant([1.0]), tf.constant([0.0]), tf.constant([1.0]), tf.constant([4.0])
        >>> scale, shift = kd.ops.scale_and_shift(gamma, beta, mean, variance, epsilon=0)
        >>> scale.numpy().tolist(), shift.numpy().tolist()
        ([0.5], [-0.5])
    """
    return Normalization.of(gamma, beta, standardisation(mean, variance, epsilon))[-2:]


def affine_relu(x: Tensor, scale: Tensor, shift: Tensor, dtype: Any = None) -> Tensor:
    """`relu(scale * x + shift)` per channel, computed in float32 or wider and returned in `dtype`, or that of `x`.

    Examples:
        >>> x, scale, shift = tf.constant([-1.0, 2.0]), tf.constant(3.0), tf.constant(1.0)
        >>> kd.ops.affine_relu(x, scale, shift).numpy().tolist()
        [0.0, 7.0]
    """
    # TensorFlow hands its own ReLU to XLA by way of a translation that is slow, each time anew.
    return tf.cast(tf.maximum(tf.zeros([], scale.dtype), wide(x) * scale + shift), dtype or x.dtype)


def passes_relu(x: Tensor, norm: Normalization) -> Tensor:
    """Whether the ReLU that follows a normalisation of x passes what comes."""
    return wide(x) * norm.scale + norm.shift > 0


def pass_relu(upstream: Tensor, x: Tensor, norm: Normalization) -> Tensor:
    """Takes a gradient back through the ReLU that follows a normalisation of x; in float32 or wider."""
    return tf.where(passes_relu(x, norm), wide(upstream), 0)


def sum_across(upstream: Tensor, x: Tensor, norm: Normalization) -> Tensor:
    """The second of the sums over pixels that `affine_gradients` takes; arguments as in `pass_relu`."""
    weighted = wide(upstream) * (norm.gamma - standardised(x, norm.standard) * norm.beta)
    return tf.reduce_sum(pass_relu(weighted, x, norm), pixels(x))


def affine_gradients(along: Tensor, across: Tensor, norm: Normalization) -> tuple[Tensor, Tensor]:
    """Gradients of a norm's gamma and beta from two sums over pixels instead of one for each.

    With m the gradient that passes the ReLU, they are the sums over pixels of `m * xhat` and of `m`. A convolution that
    reads the ReLU's output a knows a third, of `m * (gamma * xhat + beta) = a * da`, without looking at pixels: that of
    its kernel times the kernel's gradient. With one perpendicular to it, of `m * (gamma - beta * xhat)`, both follow,
    unless gamma and beta are so small that their squares vanish: then they are taken for zero.

    Args:
        along: the convolution's sum, `(channels,)`.
        across: the perpendicular one, `sum_across`.
        norm: the `Normalization`.

    Returns:
        `(dgamma, dbeta)`.
    """
    length = tf.square(norm.gamma) + tf.square(norm.beta)
    dgamma = norm.gamma * along - norm.beta * across
    dbeta = norm.beta * along + norm.gamma * across
    return tf.math.divide_no_nan(dgamma, length), tf.math.divide_no_nan(dbeta, length)  # of both zero nothing passes


def norm_gradient(m: Tensor, x: Tensor, norm: Normalization, shares: Sequence[Tensor] | None) -> Tensor:
    """Takes a gradient back through a normalisation, whose tensor has one reader.

    Args:
        m, x: the gradient that passes the ReLU, and the tensor that was normalised; or the same slice of both.
        norm: its `Normalization`.
        shares: `per_pixel` of the gradients of gamma and beta; None where the statistics are constants.

    Returns:
        The gradient with respect to `x`.
    """
    if shares is not None:
        m -= through_statistics(x, norm.standard, *shares)
    return tf.cast(m * norm.scale, x.dtype)


def through_statistics(x: Tensor, standard: Tensor, dgamma: Tensor, dbeta: Tensor) -> Tensor:
    """What a gradient m loses because the statistics depend on `x`: its sums' shares in it, `per_pixel`."""
    return standardised(x, standard) * dgamma + dbeta


def per_pixel(dgamma: Tensor, dbeta: Tensor, x: Tensor) -> list[Tensor]:
    """A pixel's shares in the sums over all pixels of `x` that the gradients of gamma and beta are."""
    rank = len(x.shape) - 1
    n = x.shape[:rank].num_elements() or tf.cast(tf.reduce_prod(tf.shape(x)[:rank]), dbeta.dtype)
    return [total / n for total in mean_over_replicas([dgamma, dbeta])]


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or as it is where it is that wide already.

    Examples:
        >>> kd.ops.wide(tf.ones(2, "bfloat16")).dtype, kd.ops.wide(tf.ones(2, "float64")).dtype
        (tf.float32, tf.float64)
    """
    return tf.cast(x, tf.float32) if x.dtype.size < 4 else x


def once(gradients: Sequence[Tensor], *inputs: Tensor) -> list[Tensor]:
    """Passes gradients through; whoever differentiates them with respect to the inputs is told that it cannot be."""

    def refuse(*_):
        raise NotImplementedError(
            "Second derivatives are not supported in training. Call the model with training=False: it then normalises "
            "with its moving statistics and can be differentiated twice"
        )

    return list(tf.custom_gradient(lambda *tensors: (tensors[: len(gradients)], refuse))(*gradients, *inputs))
