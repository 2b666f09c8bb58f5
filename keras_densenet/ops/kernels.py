"""The forms for TensorFlow's kernels on a CPU, one after another: few and fused ones, oneDNN's where it is."""

import functools
import operator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_densenet.ops.normalization import Normalization, affine_relu, per_pixel
from keras_densenet.ops.plain import Plain, turned
from keras_densenet.ops.shapes import sizes
from keras_densenet.ops.volumes import gradient_of_kernel_planes
from keras_densenet.types import Tensor


class Kernels(Plain):
    """Batch normalisation and its gradient as TensorFlow's fused kernels; they do not take float64."""

    @staticmethod
    def gradient_of_input(kernel: Tensor, upstream: Tensor) -> Tensor:
        return Plain.convolve(upstream, turned(kernel))

    @staticmethod
    def gradient_of_kernel(x: Tensor, upstream: Tensor, window: Sequence[int]) -> Tensor:
        if len(x.shape) == 5:
            return gradient_of_kernel_planes(Kernels.gradient_of_kernel, x, upstream)
        # A product with nine shifted copies of the few upstream channels beats TensorFlow's own gradient.
        found = tf.matmul(_shifts(upstream, window), tf.reshape(x, (-1, x.shape[-1])), transpose_a=True)
        return turned(tf.reshape(found, (*window, upstream.shape[-1], x.shape[-1])))

    @staticmethod
    def affine_relu(x: Tensor, scale: Tensor, shift: Tensor, dtype: Any = None) -> Tensor:
        if x.dtype == tf.float64 or dtype not in (None, x.dtype):
            return affine_relu(x, scale, shift, dtype)
        return tf.nn.relu(_affine(x, scale, shift))

    @staticmethod
    def through_norm_relu(
        upstream: Tensor, x: Tensor, norm: Normalization, batch_statistics: bool, y: Tensor | None = None
    ) -> list[Tensor]:
        if x.dtype == tf.float64:
            return Plain.through_norm_relu(upstream, x, norm, batch_statistics)
        y = Kernels.affine_relu(x, norm.scale, norm.shift) if y is None else y
        mean, rstd = tf.unstack(norm.standard)
        dx, dgamma, dbeta, *_ = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=_image(tf.raw_ops.ReluGrad(gradients=upstream, features=y)),
            x=_image(x),
            scale=norm.gamma,
            reserve_space_1=mean,
            reserve_space_2=1 / tf.square(rstd),
            reserve_space_3=tf.zeros([0]),
            epsilon=0.0,
            is_training=False,
        )
        dx = _like(dx, x)
        if batch_statistics:
            shares = per_pixel(dgamma, dbeta, x)
            slope = norm.scale * rstd * shares[0]
            dx -= _affine(x, slope, norm.scale * shares[1] - slope * mean)
        return [dx, dgamma, dbeta]


def _shifts(x, window):
    """What a window of 3x3 sees around each pixel, or one of 1x3, side by side: `(pixels, 9 * channels)`."""
    (_, height, width, channels), (lines, columns) = sizes(x), window
    padded = tf.pad(x, [[0, 0], [lines // 2] * 2, [1, 1], [0, 0]])
    found = tf.concat([padded[:, i : i + height, j : j + width] for i in range(lines) for j in range(columns)], -1)
    return tf.reshape(found, (-1, lines * columns * channels))


def _affine(x, scale, shift):
    """`scale * x + shift` in one pass instead of two."""
    y, *_ = tf.raw_ops.FusedBatchNormV3(
        x=_image(x),
        scale=scale,
        offset=shift,
        mean=tf.zeros_like(scale),
        variance=tf.ones_like(scale),
        epsilon=0.0,
        is_training=False,
    )
    return _like(y, x)


def _image(x):
    """A signal or volume as an image, for the kernels of batch normalisation, which look at channels alone."""
    if len(x.shape) == 4:
        return x
    batch, *window, channels = sizes(x)
    return tf.reshape(x, [batch, 1, functools.reduce(operator.mul, window), channels])


def _like(image, x):
    return image if len(x.shape) == 4 else tf.reshape(image, sizes(x))
