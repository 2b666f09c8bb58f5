"""The forms that are right everywhere: plain operations of TensorFlow. Others replace what they know better."""

from collections.abc import Iterable, Sequence

import tensorflow as tf

from keras_densenet.ops.normalization import (
    Normalization,
    affine_relu,
    norm_gradient,
    passes_relu,
    per_pixel,
    standardised,
    wide,
)
from keras_densenet.ops.shapes import pixels, sizes
from keras_densenet.ops.volumes import of_planes
from keras_densenet.types import Tensor


class Plain:
    """One set of forms; `ops.forms.forms` says which is for whom. Convolutions are 3x3 or 3x3x3
    (of signals 1x3, for they come as images of one row), of stride 1, zero padded."""

    @staticmethod
    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        """A convolution."""
        return convolution(x, kernel)

    @staticmethod
    def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
        """Gradient of a convolution with respect to its input."""
        shape = [*sizes(upstream)[:-1], kernel.shape[-2]]
        return tf.nn.conv_transpose(upstream, kernel, shape, 1, "SAME", _layout(upstream))

    @staticmethod
    def gradient_of_kernel(x: Tensor, upstream: Tensor, window: Sequence[int]) -> Tensor:
        """Gradient of a convolution with respect to its kernel, which sees so many pixels."""
        gradient = tf.raw_ops.Conv2DBackpropFilter if len(window) == 2 else tf.raw_ops.Conv3DBackpropFilterV2
        shape, strides = [*window, x.shape[-1], upstream.shape[-1]], [1] * len(x.shape)
        return gradient(input=x, filter_sizes=shape, out_backprop=upstream, strides=strides, padding="SAME")

    @staticmethod
    def gradient_of_matrix(x: Tensor, upstream: Tensor) -> Tensor:
        """Gradient of the product `x @ matrix` with respect to the matrix; x and upstream have rank 2."""
        return tf.matmul(x, upstream, transpose_a=True)

    @staticmethod
    def average_pool(x: Tensor) -> Tensor:
        """2x2 average pool of stride 2; x is in float32 or wider, for of 16 bits TensorFlow rounds each sum."""
        if len(x.shape) < 5:
            return tf.nn.avg_pool(x, 2, 2, "VALID")
        depth, planes = sizes(x)[1] // 2 * 2, of_planes(Plain.average_pool, x)
        return (planes[:, 0:depth:2] + planes[:, 1:depth:2]) / 2

    @staticmethod
    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and population variance of each channel; x is in float32 or wider."""
        mean = tf.reduce_mean(x, pixels(x))
        return mean, tf.reduce_mean(tf.math.squared_difference(x, mean), pixels(x))

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
        upstream, passes = wide(upstream), passes_relu(x, norm)
        m, along = (tf.where(passes, v, 0) for v in (upstream, upstream * standardised(x, norm.standard)))
        dgamma, dbeta = (tf.reduce_sum(values, pixels(x)) for values in (along, m))
        shares = per_pixel(dgamma, dbeta, x) if batch_statistics else None
        return [norm_gradient(m, x, norm, shares), dgamma, dbeta]

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
        """Passes `value`, something small, through unchanged; what follows from it is computed after `tensor`."""
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


def convolution(x: Tensor, kernel: Tensor) -> Tensor:
    """TensorFlow's own convolution of signals, images and volumes, of stride 1 and zero padded."""
    return tf.nn.convolution(x, kernel, 1, "SAME", _layout(x))


def _layout(x):
    return {3: "NWC", 4: "NHWC", 5: "NDHWC"}[len(x.shape)]  # without it TensorFlow cannot differentiate that of volumes


def turned(kernel: Tensor) -> Tensor:
    """A kernel turned by 180 degrees, its channels and filters exchanged."""
    *window, channels, filters = range(len(kernel.shape))
    return tf.transpose(tf.reverse(kernel, window), (*window, filters, channels))
