"""What is known of images, for volumes: their planes stand side by side in the batch, and neighbours are added.

So convolutions are as fast as those of images where those of volumes are slow: on CPUs.
"""

from collections.abc import Callable

import tensorflow as tf

from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


def of_planes(function: Callable[..., Tensor], *volumes: Tensor) -> Tensor:
    """What a function of images makes of volumes' planes, as a volume."""
    planes = function(*map(_planes, volumes))
    return tf.reshape(planes, [*sizes(volumes[0])[:2], *sizes(planes)[1:]])


def convolve_planes(convolve: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor) -> Tensor:
    """Convolves a volume by the convolution of images that is given, tripling the side with fewer numbers."""
    *_, channels, filters = kernel.shape
    if channels <= filters or x.dtype.size < 4:  # of 16 bits the sums would be rounded
        kernel = tf.reshape(tf.transpose(kernel, (1, 2, 0, 3, 4)), (3, 3, 3 * channels, filters))
        return of_planes(lambda planes: convolve(planes, kernel), tf.concat(_shifted(x), -1))
    kernel = tf.reshape(tf.transpose(kernel, (1, 2, 3, 0, 4)), (3, 3, channels, 3 * filters))
    above, here, below = tf.split(of_planes(lambda planes: convolve(planes, kernel), x), 3, -1)
    return _shifted(above)[0] + here + _shifted(below)[2]


def convolve_strided(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """Convolves a volume that is padded already, with a kernel of any size: the planes that it sees become channels."""
    window, _, _, channels, filters = kernel.shape
    steps = (sizes(x)[1] - window) // stride * stride + 1
    planes = tf.concat([x[:, first : first + steps : stride] for first in range(window)], -1)
    kernel = tf.reshape(tf.transpose(kernel, (1, 2, 0, 3, 4)), (window, window, window * channels, filters))
    return of_planes(lambda planes: tf.nn.conv2d(planes, kernel, stride, "VALID"), planes)


def gradient_of_kernel_planes(
    gradient_of_kernel: Callable[[Tensor, Tensor, tuple[int, int]], Tensor], x: Tensor, upstream: Tensor
) -> Tensor:
    """Gradient of a volume's convolution with respect to its kernel, by that of images."""
    found = [gradient_of_kernel(_planes(x), _planes(part), (3, 3)) for part in reversed(_shifted(upstream))]
    return tf.stack(found)


def _shifted(x):
    """The volume a plane down, itself, and a plane up, zeros where there is none."""
    depth, padded = sizes(x)[1], tf.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0], [0, 0]])
    return [padded[:, i : i + depth] for i in range(3)]


def _planes(x):
    batch, depth, *plane = sizes(x)
    return tf.reshape(x, [batch * depth, *plane])
