"""The forms that are right everywhere: plain operations of TensorFlow. Others replace what they know better."""

from collections.abc import Iterable

import tensorflow as tf

from keras_densenet.ops.normalization import (
    PIXELS,
    Normalization,
    affine_relu,
    norm_gradient,
    pass_relu,
    per_pixel,
    standardised,
    wide,
)
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


class Plain:
    """One set of forms; `ops.forms.forms` says which is for whom. Convolutions are 3x3, of stride 1, zero padded."""

    @staticmethod
    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        """A convolution."""
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    @staticmethod
    def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
        """Gradient of a convolution with respect to its input."""
        shape = [*sizes(upstream)[:3], kernel.shape[2]]
        return tf.nn.conv2d_transpose(upstream, kernel, shape, 1, "SAME")

    @staticmethod
    def gradient_of_kernel(x: Tensor, upstream: Tensor) -> Tensor:
        """Gradient of a convolution with respect to its kernel."""
        shape = [3, 3, x.shape[-1], upstream.shape[-1]]
        return tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=shape, out_backprop=upstream, strides=[1] * 4, padding="SAME"
        )

    @staticmethod
    def gradient_of_matrix(x: Tensor, upstream: Tensor) -> Tensor:
        """Gradient of the product `x @ matrix` with respect to the matrix; x and upstream have rank 2."""
        return tf.matmul(x, upstream, transpose_a=True)

    @staticmethod
    def average_pool(x: Tensor) -> Tensor:
        """2x2 average pool of stride 2; x is in float32 or wider, for of 16 bits TensorFlow rounds each sum."""
        return tf.nn.avg_pool2d(x, 2, 2, "VALID")

    @staticmethod
    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and population variance of each channel; x is in float32 or wider."""
        mean = tf.reduce_mean(x, PIXELS)
        return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), PIXELS)

    affine_relu = staticmethod(affine_relu)

    @staticmethod
    def through_norm_relu(
        upstream: Tensor, x: Tensor, norm: Normalization, batch_statistics: bool, y: Tensor | None = None
    ) -> list[Tensor]:
        """Gradients of `y = relu(norm(x))` with respect to x, gamma and beta.

        Args:
            upstream: gradient of y.
            x: the tensor that is normalised.
            norm: its `Normalization`.
            batch_statistics: whether the statistics are functions of x, which has no other reader, or constants.
            y: for who would have to compute it again.
        """
        products = wide(upstream) * standardised(x, norm.standard), upstream
        dgamma, dbeta = (tf.reduce_sum(pass_relu(values, x, norm), PIXELS) for values in products)
        shares = per_pixel(dgamma, dbeta, x) if batch_statistics else None
        return [norm_gradient(upstream, x, norm, shares), dgamma, dbeta]

    @staticmethod
    def images_in_a_slice(x: Tensor) -> int | Tensor | None:
        """How many images of `x` to work on at a time; None for the whole batch, without a loop."""
        return None

    @staticmethod
    def barrier(tensors: Iterable[Tensor]) -> list[Tensor]:
        """Passes tensors through unchanged, and keeps a compiler from merging what follows with what came before."""
        return list(tensors)

    @staticmethod
    def after(tensor: Tensor, value: Tensor) -> Tensor:
        """Passes `value` `(channels,)` through unchanged; what follows from it is computed after `tensor`."""
        return value

    @staticmethod
    def not_before(tensor: Tensor, value: Tensor) -> Tensor:
        """Passes `value`, of any shape, through unchanged; what follows from it is computed after `tensor`."""
        return value

    @staticmethod
    def with_room(x: Tensor, channels: int) -> Tensor:
        """`x` as the first of so many channels, of which the rest are for `append` to fill, where it needs that."""
        return x

    @staticmethod
    def append(x: Tensor, filled: int, part: Tensor) -> Tensor:
        """Puts `part` behind the channels of `x` that are filled."""
        return tf.concat([x, part], -1)

    @staticmethod
    def gathered(total: Tensor) -> Tensor:
        """The gradient that readers add their shares to, in the dtype that these are summed in."""
        return wide(total)  # narrower, what the statistics take away again would be rounded with each share

    @staticmethod
    def add_to_first(total: Tensor, share: Tensor) -> Tensor:
        """Adds `share` to the first channels of `total`, of which the others are not needed any more."""
        return total[..., : share.shape[-1]] + tf.cast(share, total.dtype)


def turned(kernel: Tensor) -> Tensor:
    """A kernel turned by 180 degrees, its channels and filters exchanged."""
    return tf.transpose(tf.reverse(kernel, (0, 1)), (0, 1, 3, 2))
