"""1x1 and 3x3 convolutions of stride 1 in any number of dimensions, and their gradients."""

from collections.abc import Sequence

import tensorflow as tf

from keras_densenet.ops import volumes
from keras_densenet.ops.forms import forms
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolves with zero padding, so that the image keeps its size.

    Args:
        x: `(batch, ..., channels)`, a signal, an image or a volume.
        kernel: `(1, ..., channels, filters)` or `(3, ..., channels, filters)`, an axis for each of the image.

    Returns:
        `(batch, ..., filters)`.
    """
    if is_matrix(kernel):
        return _unflatten(tf.matmul(_rows(x), tf.squeeze(kernel, _window(kernel))), x)
    if len(x.shape) == 3:  # a signal is an image of one row
        return convolve(x[:, None], kernel[None])[:, 0]
    y = forms().convolve(x, kernel)
    y.set_shape([*x.shape[:-1], kernel.shape[-1]])  # slices, of a batch of any size, do not know
    return y


def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of `convolve(x, kernel)` with respect to x.

    Args:
        kernel: as in `convolve`.
        upstream: `(batch, ..., filters)`.

    Returns:
        `(batch, ..., channels)`.
    """
    if is_matrix(kernel):
        return _unflatten(tf.matmul(_rows(upstream), tf.squeeze(kernel, _window(kernel)), transpose_b=True), upstream)
    if len(upstream.shape) == 3:
        return gradient_of_input(kernel[None], upstream[:, None])[:, 0]
    return forms().gradient_of_input(kernel, upstream)


def gradient_of_kernel(x: Tensor, upstream: Tensor, window: Sequence[int]) -> Tensor:
    """Gradient of `convolve(x, kernel)` with respect to the kernel.

    Args:
        x: as in `convolve`.
        upstream: `(batch, ..., filters)`.
        window: what the kernel sees, all of 1 or of 3.

    Returns:
        `(*window, channels, filters)`.
    """
    if max(window) == 1:
        found = forms().gradient_of_matrix(_rows(x), _rows(upstream))
        return tf.reshape(found, (*window, x.shape[-1], upstream.shape[-1]))
    if len(x.shape) == 3:
        return gradient_of_kernel(x[:, None], upstream[:, None], (1, *window))[0]
    return forms().gradient_of_kernel(x, upstream, window)


def convolve_strided(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Convolves a volume that is padded already, with a kernel of any size.

    The planes side by side that this makes of `x`, several times as large, are made again for the gradient, not kept.

    Args:
        x: `(batch, depth, height, width, channels)`.
        kernel: `(*window, channels, filters)`, of as many along each axis.
        stride: along each axis.

    Returns:
        `(batch, ..., filters)`.
    """

    @tf.custom_gradient
    def run(x, kernel):
        def gradient(upstream):
            again = forms().after(upstream, x)
            with tf.GradientTape() as tape:
                tape.watch((again, kernel))
                y = volumes.convolve_strided(again, kernel, stride)
            return tape.gradient(y, (again, kernel), upstream)

        return volumes.convolve_strided(x, kernel, stride), gradient

    return run(x, tf.convert_to_tensor(kernel))  # of a variable custom_gradient would want to know


def is_matrix(kernel: Tensor) -> bool:
    """Whether a kernel sees one pixel, and is a matrix of its channels and filters."""
    return max(kernel.shape[:-2]) == 1


def _window(kernel):
    return tuple(range(len(kernel.shape) - 2))


def _rows(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _unflatten(rows, like):
    return tf.reshape(rows, [*sizes(like)[:-1], rows.shape[-1]])
