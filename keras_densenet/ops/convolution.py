"""1x1 and 3x3 convolutions of stride 1, and their gradients in the forms that measured fastest."""

import tensorflow as tf

from keras_densenet.compat.tensorflow import convolution, is_compiling
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
    if is_compiling() and x.dtype.size >= 4:  # narrower, the sums would be rounded
        return _convolve_in_rows(x, kernel)
    return tf.nn.conv2d(x, kernel, 1, "SAME")


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
    turned = tf.transpose(tf.reverse(kernel, (0, 1)), (0, 1, 3, 2))
    if is_compiling():
        return tf.nn.conv2d(upstream, turned, 1, "SAME")
    # Without XLA, products with nine shifted copies of the few upstream channels beat TensorFlow's own gradients.
    shifted = _rows(_shifts(upstream))
    return _unflatten(tf.matmul(shifted, tf.reshape(turned, (shifted.shape[-1], -1))), upstream)


def gradient_of_kernel(x: Tensor, upstream: Tensor, size: int) -> Tensor:
    """Gradient of `convolve(x, kernel)` with respect to the kernel.

    Args:
        x: as in `convolve`.
        upstream: `(batch, height, width, filters)`.
        size: the kernel's height and width, 1 or 3.

    Returns:
        `(size, size, channels, filters)`.
    """
    if size == 1:  # as (filters, channels): XLA's product of this order is the faster one
        return tf.transpose(tf.matmul(_rows(upstream), _rows(x), transpose_a=True))[None, None]
    if is_compiling():
        return _kernel_gradient_xla(x, upstream)
    found = tf.matmul(_rows(_shifts(upstream)), _rows(x), transpose_a=True)
    found = tf.reshape(found, (3, 3, upstream.shape[-1], x.shape[-1]))
    return tf.transpose(tf.reverse(found, (0, 1)), (0, 1, 3, 2))


def _convolve_in_rows(x, kernel):
    """A 3x3 convolution to few filters as one with the kernel's three rows side by side, whose results are added.

    XLA copies, for each pixel and for the few numbers that it makes of them, all that the kernel sees: now a third.
    """
    _, _, channels, filters = kernel.shape
    rows = tf.reshape(tf.transpose(kernel, (1, 2, 0, 3)), (1, 3, channels, 3 * filters))
    found = tf.nn.conv2d(x, rows, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
    height = sizes(x)[1]
    above, here, below = (found[:, i : i + height, :, i * filters : (i + 1) * filters] for i in range(3))
    return above + here + below


def _rows(x):
    return tf.reshape(x, (-1, x.shape[-1]))


def _unflatten(rows, like):
    return tf.reshape(rows, [*sizes(like)[:3], rows.shape[-1]])


def _shifts(x):
    """The nine neighbours of each pixel, side by side: `(batch, height, width, 9 * channels)`."""
    _, height, width, _ = sizes(x)
    padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return tf.concat([padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)], -1)


def _kernel_gradient_xla(x, upstream):
    """The 3x3 kernel's gradient as a convolution whose kernel is `x` as it lies in memory.

    Its window runs over (batch, row), its input feature is the column, its output feature the channel: only
    `upstream`, which has few channels, is transposed and shifted.
    """
    filters, channels, width = upstream.shape[-1], x.shape[-1], sizes(x)[2]
    # A product with one turns it: XLA's own transposition goes number by number.
    turned = tf.matmul(tf.eye(filters, dtype=upstream.dtype), _rows(upstream), transpose_b=True)
    turned = tf.reshape(turned, [filters, *sizes(upstream)[:3]])
    image = tf.pad(turned, [[0, 0], [0, 0], [0, 0], [1, 1]])
    image = tf.concat([image[..., j : j + width] for j in range(3)], 0)
    found = convolution(image, x, [[0, 0], [1, 1]], _DIMENSIONS)
    found = tf.reshape(found, (3, filters, 3, channels))
    return tf.transpose(tf.reverse(found, (0, 2)), (2, 0, 3, 1))


_DIMENSIONS = {
    "input_batch_dimension": 0,
    "input_spatial_dimensions": [1, 2],
    "input_feature_dimension": 3,
    "kernel_spatial_dimensions": [0, 1],
    "kernel_input_feature_dimension": 2,
    "kernel_output_feature_dimension": 3,
    "output_batch_dimension": 0,
    "output_spatial_dimensions": [1, 2],
    "output_feature_dimension": 3,
}
