"""A dense block in inference form."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_densenet.ops.convolution import is_matrix
from keras_densenet.ops.forms import target
from keras_densenet.ops.kernels import Kernels
from keras_densenet.ops.normalization import affine_relu
from keras_densenet.ops.plain import convolution
from keras_densenet.types import Tensor


class FoldedWeights(NamedTuple):
    """Constants of one H_l: the reader's affine map, and its convolutions, the first with the second's BN in it.

    Examples:
        >>> layer = kd.ops.FoldedWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)), None, None)
        >>> layer.kernel1.shape
        TensorShape([3, 3, 6, 4])
    """

    scale: tf.Tensor
    shift: tf.Tensor
    kernel1: tf.Tensor
    bias1: tf.Tensor | None = None
    kernel2: tf.Tensor | None = None


def folded_dense_block(x: Tensor, layers: Sequence[FoldedWeights]) -> Tensor:
    """Runs a dense block whose normalisations are folded.

    Args:
        x: x_0, `(batch, ..., channels)`.
        layers: one `FoldedWeights` per layer.

    Returns:
        All feature maps `(batch, ..., channels + layers * k)`, x_0 first.

    Examples:
        >>> layer = kd.ops.FoldedWeights(tf.ones(6), tf.zeros(6), tf.zeros((3, 3, 6, 4)), None, None)
        >>> kd.ops.folded_dense_block(tf.ones((2, 8, 8, 6)), [layer]).shape
        TensorShape([2, 8, 8, 10])
    """
    for weights in layers:
        y, weights = folded_read(x, weights)
        y = convolution(y, weights.kernel1)
        if weights.kernel2 is not None:
            y = folded_bias_relu(y, weights.bias1)
            y = convolution(y, weights.kernel2)
        x = tf.concat([x, y], -1)
    return x


def folded_read(x: Tensor, weights: FoldedWeights) -> tuple[Tensor, FoldedWeights]:
    """What a reader's first convolution takes, and the weights it takes it with.

    `relu(scale * x + shift)` is `scale * max(x, -shift / scale) + shift` (`min` where the scale is negative). Where
    weights are constants of a graph, as in an export, the affine map goes into a 1x1 convolution, and one pass over the
    features is left. 16 bits would lose what cancels then, and a 3x3 convolution pads between map and ReLU.

    Examples:
        >>> weights = kd.ops.FoldedWeights(tf.ones(6), tf.zeros(6), tf.zeros((1, 1, 6, 4)))
        >>> y, weights = kd.ops.folded_read(tf.ones((2, 8, 8, 6)), weights)
        >>> y.shape
        TensorShape([2, 8, 8, 6])
    """
    known: list[Any] = [None] if tf.executing_eagerly() else [tf.get_static_value(part) for part in weights[:3]]
    if not is_matrix(weights.kernel1) or tf.as_dtype(x.dtype).size < 4 or any(part is None for part in known):
        return folded_norm_relu(x, weights.scale, weights.shift), weights
    scale, shift, kernel = (part.astype("float64") for part in known)
    ignored = np.abs(scale) < 1e-30  # whatever the feature is, it is the shift that counts
    edge = np.where(ignored, 0, -shift / np.where(ignored, 1, scale))
    if (scale > 0).any():
        x = tf.maximum(x, tf.constant(np.where(scale > 0, edge, -np.inf), x.dtype))
    if (scale < 0).any():
        x = tf.minimum(x, tf.constant(np.where(scale < 0, edge, np.inf), x.dtype))
    bias = np.where(ignored, np.maximum(shift, 0), shift) @ kernel.reshape(kernel.shape[-2:])
    bias = tf.constant(bias, x.dtype)
    kernel = tf.constant(kernel * np.where(ignored, 0, scale)[:, None], x.dtype)
    return x, weights._replace(kernel1=kernel, bias1=bias if weights.bias1 is None else weights.bias1 + bias)


def folded_norm_relu(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`affine_relu`, as TensorFlow's inference kernel where XLA does not compile: what is exported runs elsewhere.

    Examples:
        >>> x = tf.constant([[[[-1.0, 2.0]]]])
        >>> kd.ops.folded_norm_relu(x, tf.constant([1.0, 3.0]), tf.constant([0.0, 1.0])).numpy().round(3).tolist()
        [[[[0.0, 7.0]]]]
    """
    return (affine_relu if target().xla else Kernels.affine_relu)(x, scale, shift)


def folded_bias_relu(x: Tensor, bias: Tensor) -> Tensor:
    """What follows a convolution with a normalisation in it; without XLA its bias and ReLU are one kernel with it.

    Examples:
        >>> kd.ops.folded_bias_relu(tf.constant([[-1.0, 2.0]]), tf.constant([3.0, -4.0])).numpy().tolist()
        [[2.0, 0.0]]
    """
    return tf.maximum(x + bias, 0) if target().xla else tf.nn.relu(tf.nn.bias_add(x, bias))
