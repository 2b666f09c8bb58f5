"""The layers in their inference form: batch normalisation folded away, made by `keras_densenet.fold`.

Each is the layer that it came from with other weights, all constant: a reader's normalisation is one precomputed scale
and shift, and a normalisation behind a convolution is part of its kernel and bias.
"""

import keras
import tensorflow as tf

from keras_densenet import ops
from keras_densenet.layers.base import channels_of, images_like
from keras_densenet.layers.dense_block import DenseBlock
from keras_densenet.layers.head import Head
from keras_densenet.layers.policy import own_policy, wide_dtype
from keras_densenet.layers.stems import DeepStem, ImageNetStem
from keras_densenet.layers.transition import Transition


class Folded(keras.layers.Layer):
    """What the inference forms share: constant weights."""

    def add_affine(self, name: str, channels: int) -> tuple[keras.Variable, ...]:
        """Adds a reader's `(scale, shift)`, in float32 or wider whatever the policy is."""
        options = {"dtype": wide_dtype(own_policy(self)), "trainable": False, "autocast": False}
        return tuple(self.add_weight(name=name + part, shape=(channels,), **options) for part in ("scale", "shift"))

    def add_constant(self, name: str, *shape: int) -> keras.Variable:
        return self.add_weight(name=name, shape=shape, trainable=False)


@keras.saving.register_keras_serializable("keras_densenet")
class FoldedImageNetStem(Folded, ImageNetStem):
    """`ImageNetStem` with its normalisation in kernel and bias: `conv_kernel`, `conv_bias`.

    Examples:
        >>> stem = kd.layers.FoldedImageNetStem(filters=8)  # `kd.fold` makes it, and gives it its weights
        >>> stem(np.ones((1, 32, 32, 3), "float32")).shape
        TensorShape([1, 16, 16, 8])
    """

    def add_convolution(self, convolution):
        suffix, size, _, channels, filters = convolution
        kernel = self.add_constant(f"conv{suffix}_kernel", *[size] * self.rank, channels, filters)
        return kernel, self.add_constant(f"conv{suffix}_bias", filters)

    def follow(self, x, training, bias):
        return ops.folded_bias_relu(x, bias)


@keras.saving.register_keras_serializable("keras_densenet")
class FoldedDeepStem(FoldedImageNetStem, DeepStem):
    """`DeepStem` with its normalisations in kernels and biases: `conv_kernel`, `conv_bias`, `conv2_kernel`, ...

    Examples:
        >>> stem = kd.layers.FoldedDeepStem(filters=8)  # `kd.fold` makes it, and gives it its weights
        >>> stem(np.ones((1, 32, 32, 3), "float32")).shape
        TensorShape([1, 16, 16, 8])
    """


@keras.saving.register_keras_serializable("keras_densenet")
class FoldedDenseBlock(Folded, DenseBlock):
    """`DenseBlock` for inference.

    Weights of the l-th layer: `layer{l}_scale`, `layer{l}_shift`, `layer{l}_conv1_kernel`, and with a bottleneck
    `layer{l}_conv1_bias`, `layer{l}_conv2_kernel`.

    Examples:
        >>> type(kd.fold(model).get_layer("block1")).__name__
        'FoldedDenseBlock'
    """

    def build(self, input_shape):
        channels, k, rank = channels_of(input_shape, self), self.growth_rate, len(input_shape) - 2
        self.h = [self._add_layer(f"layer{i + 1}_", rank, channels + i * k) for i in range(self.num_layers)]
        self.input_spec = images_like(input_shape)

    def _add_layer(self, name, rank, channels):
        k, width = self.growth_rate, 4 * self.growth_rate
        affine = self.add_affine(name, channels)
        if not self.bottleneck:
            return (*affine, self.add_constant(f"{name}conv1_kernel", *[3] * rank, channels, k))
        return (
            *affine,
            self.add_constant(f"{name}conv1_kernel", *[1] * rank, channels, width),
            self.add_constant(f"{name}conv1_bias", width),
            self.add_constant(f"{name}conv2_kernel", *[3] * rank, width, k),
        )

    def forward(self, inputs, training):
        return ops.folded_dense_block(inputs, [ops.FoldedWeights(*map(tf.convert_to_tensor, h)) for h in self.h])


@keras.saving.register_keras_serializable("keras_densenet")
class FoldedTransition(Folded, Transition):
    """`Transition` for inference: `scale`, `shift`, `conv_kernel`.

    Examples:
        >>> type(kd.fold(model).get_layer("transition1")).__name__
        'FoldedTransition'
    """

    def build(self, input_shape):
        channels = channels_of(input_shape, self)
        self.affine = self.add_affine("", channels)
        window = [1] * (len(input_shape) - 2)
        self.kernel = self.add_constant("conv_kernel", *window, channels, self.kept_channels(channels))
        self.input_spec = images_like(input_shape)

    def forward(self, inputs, training):
        weights = ops.FoldedWeights(*map(tf.convert_to_tensor, (*self.affine, self.kernel)))
        y, weights = ops.folded_read(inputs, weights)
        y = ops.transition(y, weights.kernel1)
        return y if weights.bias1 is None else tf.nn.bias_add(y, weights.bias1)


@keras.saving.register_keras_serializable("keras_densenet")
class FoldedHead(Folded, Head):
    """`Head` for inference: `scale`, `shift`.

    Examples:
        >>> type(kd.fold(model).get_layer("head")).__name__
        'FoldedHead'
    """

    def build(self, input_shape):
        self.affine = self.add_affine("", channels_of(input_shape, self))
        self.input_spec = images_like(input_shape)

    def forward(self, inputs, training):
        return ops.folded_norm_relu(inputs, *map(tf.convert_to_tensor, self.affine))
