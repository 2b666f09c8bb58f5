"""The forms for programs that XLA compiles."""

import functools
import itertools
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_densenet.compat.tensorflow import convolution, dynamic_update_slice, optimization_barrier
from keras_densenet.ops.plain import Plain, turned
from keras_densenet.ops.shapes import pixels, sizes, spatial
from keras_densenet.ops.slices import images_in_a_slice
from keras_densenet.ops.volumes import convolve_planes, gradient_of_kernel_planes
from keras_densenet.types import Tensor


class Xla(Plain):
    """What XLA is told on every device: which buffers to update in place, and what not to compute early."""

    @staticmethod
    def barrier(tensors: Iterable[Tensor]) -> list[Tensor]:
        return optimization_barrier(tensors)

    @staticmethod
    def after(tensor: Tensor, value: Tensor) -> Tensor:
        # Barriers are gone by the time XLA merges equal expressions for the last time and puts all in order: what the
        # backward pass computes again would be computed early, or not again, and kept. A dependence on data stays.
        return value + tf.cast(tf.minimum(tf.square(tensor[(0,) * len(tensor.shape)]), 0), value.dtype)

    @staticmethod
    def with_room(x: Tensor, channels: int) -> Tensor:
        return tf.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, channels - x.shape[-1]]])

    @staticmethod
    def append(x: Tensor, filled: int, part: Tensor) -> Tensor:
        return put_in_place(x, [0] * (len(x.shape) - 1) + [filled], part)

    @staticmethod
    def gathered(total: Tensor) -> Tensor:
        return total

    @staticmethod
    def add_to_first(total: Tensor, share: Tensor) -> Tensor:
        return add_in_place(total, [0] * len(total.shape), share)

    @staticmethod
    def average_pool(x: Tensor) -> Tensor:  # elementwise, so that XLA fuses it with what comes before
        ends, axes = [size // 2 * 2 for size in sizes(x)[1:-1]], spatial(x)
        corners = itertools.product(range(2), repeat=len(axes))
        parts = ((slice(None), *map(slice, corner, ends, [2] * len(axes))) for corner in corners)
        return sum(x[part] for part in parts) / 2 ** len(axes)


class XlaOnGpu(Xla):
    """Plain convolutions and their plain gradients, which cuDNN knows; each tensor is read as seldom as can be."""

    @staticmethod
    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        # In one pass, about the first image's mean: a variance of n images loses no more than n roundings to that.
        start = tf.reduce_mean(x[:1], pixels(x))
        mean, square = (tf.reduce_mean(values, pixels(x)) for values in (x - start, tf.square(x - start)))
        return start + mean, tf.maximum(square - tf.square(mean), 0)


class XlaOnCpu(Xla):
    """Forms that avoid what is slow in XLA:CPU: copies of what a kernel sees, transpositions, sums of products."""

    images_in_a_slice = staticmethod(images_in_a_slice)

    @staticmethod
    def convolve(x: Tensor, kernel: Tensor) -> Tensor:
        if len(x.shape) == 5:
            return convolve_planes(XlaOnCpu.convolve, x, Xla.after(x, kernel))  # or all kernels are turned early
        if x.dtype.size < 4:  # the sums would be rounded
            return Plain.convolve(x, kernel)
        return _convolve_in_rows(x, kernel)

    @staticmethod
    def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
        if len(upstream.shape) == 5:
            return convolve_planes(Plain.convolve, upstream, turned(Xla.after(upstream, kernel)))
        return Plain.convolve(upstream, turned(kernel))

    @staticmethod
    def gradient_of_kernel(x: Tensor, upstream: Tensor, window: Sequence[int]) -> Tensor:
        if len(x.shape) == 5:
            return gradient_of_kernel_planes(XlaOnCpu.gradient_of_kernel, x, upstream)
        # A convolution whose kernel is `x` as it lies in memory. Its window runs over (batch, row), its input feature
        # is the column, its output feature the channel: only `upstream`, which is narrow, is transposed and shifted.
        filters, channels, width, lines = upstream.shape[-1], x.shape[-1], sizes(x)[2], window[0]
        # A product with one turns it: XLA's own transposition goes number by number.
        rows = tf.reshape(upstream, (-1, filters))
        turned = tf.matmul(tf.constant(np.eye(filters), upstream.dtype), rows, transpose_b=True)
        turned = tf.reshape(turned, [filters, *sizes(upstream)[:3]])
        image = tf.pad(turned, [[0, 0], [0, 0], [0, 0], [1, 1]])
        image = tf.concat(_windows(image, (0, 0, 0, 1), [*sizes(turned)[:3], width]), 0)
        found = convolution(image, x, [[0, 0], [lines // 2] * 2], _DIMENSIONS)
        found = tf.reshape(found, (3, filters, lines, channels))
        return tf.transpose(tf.reverse(found, (0, 2)), (2, 0, 3, 1))

    @staticmethod
    def gradient_of_matrix(x: Tensor, upstream: Tensor) -> Tensor:
        return tf.transpose(tf.matmul(upstream, x, transpose_a=True))  # the faster order

    @staticmethod
    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = tf.reduce_mean(x, pixels(x))
        # The fast kernel for sums over pixels is not used where what is summed is a product: hence the maximum.
        return mean, tf.reduce_mean(tf.maximum(tf.square(x - mean), 0), pixels(x))


def put_in_place(buffer: Tensor, start: Any, part: Tensor) -> Tensor:
    """Puts `part` into `buffer` from `start` on, in place where `buffer` is not used any more."""
    return dynamic_update_slice(buffer, part, start)


def add_in_place(buffer: Tensor, start: Any, part: Tensor) -> Tensor:
    """Adds `part` to what lies in `buffer` from `start` on, as `put_in_place`."""
    return put_in_place(buffer, start, tf.slice(buffer, start, sizes(part)) + part)


def _convolve_in_rows(x, kernel):
    """A 3x3 convolution to few filters as one with the kernel's rows side by side, whose results are added.

    XLA copies, for each pixel and for the few numbers that it makes of them, all that the kernel sees: now a third.
    """
    lines, _, channels, filters = kernel.shape
    rows = tf.reshape(tf.transpose(kernel, (1, 2, 0, 3)), (1, 3, channels, lines * filters))
    found = tf.nn.conv2d(x, rows, 1, [[0, 0], [lines // 2] * 2, [1, 1], [0, 0]])
    return functools.reduce(operator.add, _windows(found, (0, 1, 0, filters), [*sizes(x)[:3], filters], lines))


def _windows(x, step, shape, count=3):
    """So many windows of a shape, each a step further than the one before, the first at the beginning of `x`."""
    starts = [[index * distance for distance in step] for index in range(count)]
    ends, strides = ([*map(operator.add, start, shape)] for start in starts), tf.constant([1] * len(step))
    return [tf.strided_slice(x, start, end, strides) for start, end in zip(starts, ends, strict=True)]


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
