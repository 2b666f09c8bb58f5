"""1x1 and 3x3 convolutions of stride 1, and their gradients."""

import tensorflow as tf

from keras_densenet.ops.forms import forms
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


def convolve(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolves with zero padding, so that the image keeps its size.

    Args:
        x: `(batch, height, width, channels)`.
        kernel: `(1, 1, channels, filters)` or `(3, 3, channels, filters)`.

    Returns:
        `(batch, height, width, filters)`.
    """
    if kernel.shape[0] == 1:
        return _unflatten(tf.matmul(_rows(x), tf.squeeze(kernel, (0, 1))), x)
    return forms().convolve(x, kernel)


def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of `convolve(x, kernel)` with respect to x.

    Args:
        kernel: as in `convolve`.
        upstream: `(batch, height, width, filters)`.

    Returns:
        `(batch, height, width, channels)`.
    """
    if kernel.shape[0] == 1:
        return _unflatten(tf.matmul(_rows(upstream), tf.squeeze(kernel, (0, 1)), transpose_b=True), upstream)
    return forms().gradient_of_input(kernel, upstream)


def gradient_of_kernel(x: Tensor, upstream: Tensor, size: int) -> Tensor:
    """Gradient of `convolve(x, kernel)` with respect to the kernel.

    Args:
        x: as in `convolve`.
        upstream: `(batch, height, width, filters)`.
        size: the kernel's height and width, 1 or 3.

    Returns:
        `(size, size, channels, filters)`.
    """
    if size == 1:
        return forms().gradient_of_matrix(_rows(x), _rows(upstream))[None, None]
    return forms().gradient_of_kernel(x, upstream)


def _rows(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _unflatten(rows, like):
    return tf.reshape(rows, [*sizes(like)[:3], rows.shape[-1]])
