"""The paper's plain composition of Keras' own layers: what the fast layers have to equal.

Every reader normalises the concatenation of all features before it with a BatchNormalization of its own, ordinary
convolutions stand where the paper has them, and the transition convolves before it pools.
"""

import functools
import math
import re

import keras
import numpy as np
import tensorflow as tf
from keras import layers as plain

from keras_densenet import layers


def plain_model(model):
    """Rebuilds a chain of our layers (a DenseNet, or a Sequential of blocks) from Keras' own, with the same weights."""
    first, *rest = (layer for layer in model.layers if not isinstance(layer, plain.InputLayer))
    x = inputs = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    for layer in (first, *rest):
        make = _PLAIN.get(type(layer))
        x = make(layer, x) if make else type(layer).from_config(layer.get_config())(x)
    oracle = keras.Model(inputs, x)
    copy_weights(model, oracle)
    return oracle


def matching(model, oracle):
    """Lists `(variable of ours, variable of the oracle)` for every variable of the oracle.

    The moving statistics of each reader are matched with the shared ones, of which they hold the first channels.
    """
    own = {f"{layer.name}_{variable.name}": variable for layer in model.layers for variable in layer.weights}
    found = []
    for layer in oracle.layers:
        for variable in layer.weights:
            name = re.sub(r"layer\d+_norm1_moving", "features_moving", f"{layer.name}_{variable.name}")
            found.append((own[name], variable))
    assert {id(ours) for ours, _ in found} == {id(variable) for variable in own.values()}, "a weight has no counterpart"
    return found


def copy_weights(model, oracle, back=False):
    """Copies all weights and statistics from ours to the oracle or, with `back`, from the oracle to ours.

    On the way back the last reader, which sees the most channels, gives the shared statistics.
    """
    for ours, theirs in matching(model, oracle):
        value, other = ours.numpy(), theirs.numpy()
        if back:
            value[: len(other)] = other
            ours.assign(value)
        else:
            theirs.assign(value[: len(other)])


def randomise(model, seed=0):
    """Gives scales, shifts and moving statistics values that tell channels apart.

    Scales have both signs. The first is zero, and of three channels or more the last has neither scale nor shift, so
    that its ReLU stands at zero exactly.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        if variable.name.endswith(("gamma", "beta", "mean", "bias")):
            value = rng.normal(0.3 if variable.name.endswith("gamma") else 0, 0.7, variable.shape)
            if variable.name.endswith("gamma"):
                value[0] = 0
            if variable.name.endswith(("gamma", "beta")) and len(value) > 2:
                value[-1] = 0
            variable.assign(value)
        elif variable.name.endswith("variance"):
            variable.assign(rng.uniform(0.5, 2, variable.shape))
    return model


def step(model, images, training=True, jit_compile=False):
    """One forward and backward pass under a fixed random upstream gradient.

    Returns:
        `(output, gradient of the images, {id(variable): gradient})`, the gradients as numpy arrays.
    """
    return stepper(model, training, jit_compile)(images)


def stepper(model, training=True, jit_compile=False):
    """The function from images to what `step` returns, compiled once for each number of images.

    The second number makes a program of any number, as in `fit`, whose last batch is a smaller one.
    """
    variables = model.trainable_variables

    @tf.function(jit_compile=True, reduce_retracing=True) if jit_compile else lambda function: function
    def run(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images, training=training)
            shape = [output.shape[0] or 32, *(size or 1 for size in output.shape[1:])]
            upstream = tf.constant(np.random.default_rng(1).normal(size=shape), output.dtype)
            loss = tf.reduce_sum(output * upstream[: tf.shape(output)[0]])
        return output, *tape.gradient(loss, [images, *(v.value for v in variables)])

    def found(images):
        output, of_images, *of_weights = (tensor.numpy() for tensor in run(tf.convert_to_tensor(images)))
        return output, of_images, dict(zip(map(id, variables), of_weights, strict=True))

    return found


def assert_equal_step(model, images, training=True, jit_compile=False, rtol=1e-9):
    """Asserts that output, gradients and statistics after one pass equal the plain composition's.

    Every array is compared in the units of its own largest value.
    """
    assert_equal_steps(model, [images], training, jit_compile, rtol)


def assert_equal_steps(model, batches, training=True, jit_compile=False, rtol=1e-9):
    """As `assert_equal_step`, after each of some passes."""
    oracle = plain_model(model)
    fast, plain = stepper(model, training, jit_compile), stepper(oracle, training)
    for images in batches:
        output, of_images, of_weights = fast(images)
        expected, of_images_expected, of_weights_expected = plain(images)
        assert_close(output, expected, rtol, "output")
        assert_close(of_images, of_images_expected, rtol, "gradient of the images")
        for ours, theirs in matching(model, oracle):
            assert ours.trainable == theirs.trainable
            if ours.trainable:
                assert_close(of_weights[id(ours)], of_weights_expected[id(theirs)], rtol, f"gradient of {ours.path}")
        assert_equal_weights(model, oracle, rtol)


def curvature(model, images, training):
    """A second derivative of what a model makes of images, with respect to these."""
    with tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            loss = tf.reduce_sum(model(images, training=training) ** 3)
        slope = tf.reduce_sum(inner.gradient(loss, images) ** 2)
    return outer.gradient(slope, images)


def assert_equal_weights(model, oracle, rtol=1e-9):
    """Asserts that all weights and moving statistics equal the oracle's, every reader's statistics the shared ones."""
    for ours, theirs in matching(model, oracle):
        assert_close(ours.numpy()[: len(theirs.numpy())], theirs.numpy(), rtol, ours.path)


def assert_close(actual, expected, rtol, what):
    """Asserts equality to `rtol` of the largest expected value."""
    actual, expected = (np.asarray(values, "float64") for values in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1e-3, np.abs(expected).max()), err_msg=what)


def images_like(shape, dtype="float64", seed=2):
    """Random images whose channels differ in mean and scale."""
    channels = np.arange(1, shape[-1] + 1)
    return (np.random.default_rng(seed).normal(size=shape) * channels + 0.5 * channels).astype(dtype)


def _options(layer):
    return {"dtype": layer.dtype_policy, "trainable": layer.trainable}


def _norm_relu(x, layer, name):
    norm = plain.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{layer.name}_{name}", **_options(layer))
    return plain.ReLU(dtype=layer.dtype_policy)(norm(x))


def _convolve(x, layer, name, filters, size, strides=1, padding="same"):
    name = f"{layer.name}_{name}"
    kind = _of_rank("Conv", x)
    return kind(filters, size, strides, padding, use_bias=False, name=name, **_options(layer))(x)


def _of_rank(name, x):
    """Keras' layer of that name for signals, images or volumes."""
    return getattr(plain, f"{name}{len(x.shape) - 2}D")


def _pool(name, x, layer, size, stride):
    """Keras' pool; of float64 volumes, for which TensorFlow has none, first within planes and then along the depth."""
    options = {"dtype": layer.dtype_policy}
    if len(x.shape) < 5 or x.dtype != "float64":
        return _of_rank(name, x)(size, stride, **options)(x)
    x = plain.TimeDistributed(getattr(plain, f"{name}2D")(size, stride, **options), **options)(x)
    depth, *plane = x.shape[1:]
    x = plain.Reshape((depth, math.prod(plane)), **options)(x)
    x = getattr(plain, f"{name}1D")(size, stride, **options)(x)
    return plain.Reshape((-1, *plane), **options)(x)


def _pad(x, layer, pixels):
    return _of_rank("ZeroPadding", x)(pixels, dtype=layer.dtype_policy)(x)


def _drop(x, layer):
    return plain.Dropout(layer.dropout_rate, dtype=layer.dtype_policy)(x) if layer.dropout_rate else x


def _dense_block(layer, x):
    k = layer.growth_rate
    for index in range(1, layer.num_layers + 1):
        y = _norm_relu(x, layer, f"layer{index}_norm1")
        if layer.bottleneck:
            y = _drop(_convolve(y, layer, f"layer{index}_conv1", 4 * k, 1), layer)
            y = _norm_relu(y, layer, f"layer{index}_norm2")
        y = _convolve(y, layer, f"layer{index}_conv{2 if layer.bottleneck else 1}", k, 3)
        x = plain.Concatenate(dtype=layer.dtype_policy)([x, _drop(y, layer)])
    return x


def _transition(layer, x):
    kept = int(np.floor(layer.theta * x.shape[-1]))
    x = _drop(_convolve(_norm_relu(x, layer, "norm"), layer, "conv", kept, 1), layer)
    return _pool("AveragePooling", x, layer, 2, 2)


def _imagenet_stem(layer, x):
    x = _pad(x, layer, 3)
    return _norm_relu(_convolve(x, layer, "conv", layer.filters, 7, 2, "valid"), layer, "norm")


def _deep_stem(layer, x):
    x = _pad(x, layer, 1)
    x = _norm_relu(_convolve(x, layer, "conv", layer.filters // 2, 3, 2, "valid"), layer, "norm")
    x = _norm_relu(_convolve(x, layer, "conv2", layer.filters // 2, 3), layer, "norm2")
    return _norm_relu(_convolve(x, layer, "conv3", layer.filters, 3), layer, "norm3")


def _stem_pool(layer, x, stride=2):
    x = _pad(x, layer, 1)
    return _pool("MaxPooling", x, layer, 3, stride)


def _blur_pool(layer, x):
    """Each channel convolved with the binomial filter, behind one mirrored pixel on every side."""
    x = _stem_pool(layer, x, 1)
    rank = len(x.shape) - 2
    filters = functools.reduce(np.multiply.outer, [np.array([1, 2, 1]) / 4] * rank)[..., None, None]
    x = keras.ops.pad(x, [[0, 0], *[[1, 1]] * rank, [0, 0]], "reflect")
    kernel = (filters * np.eye(x.shape[-1])).astype(layer.compute_dtype)
    return keras.ops.conv(x, kernel, 2, "valid", data_format="channels_last")


_PLAIN = {
    layers.DenseBlock: _dense_block,
    layers.Transition: _transition,
    layers.Head: lambda layer, x: _norm_relu(x, layer, "norm"),
    layers.CifarStem: lambda layer, x: _convolve(x, layer, "conv", layer.filters, 3),
    layers.ImageNetStem: _imagenet_stem,
    layers.DeepStem: _deep_stem,
    layers.StemPool: _stem_pool,
    layers.BlurPool: _blur_pool,
}
