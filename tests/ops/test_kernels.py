"""Without XLA on a CPU, training goes through TensorFlow's fused kernels, which are as exact as float32 is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet.layers import DenseBlock, Head
from keras_densenet.ops.kernels import Kernels
from keras_densenet.ops.normalization import Normalization, standardisation
from keras_densenet.ops.plain import Plain
from tests import oracle


def graph_of(layer, dtype="float32"):
    """The kernels of a forward and backward pass, whose loss's gradient goes through an operation named "upstream"."""
    keras.config.set_dtype_policy(dtype)
    images = tf.zeros((2, 5, 4, 3), dtype.removeprefix("mixed_"))
    layer = layer()
    layer.build(images.shape)

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            features = layer(images, training=True)
        upstream = tf.identity(tf.ones_like(features), name="upstream")
        return tape.gradient(features, [v.value for v in layer.trainable_variables], upstream)

    with tf.device("CPU:0"):  # of a machine that may have a GPU
        return step.get_concrete_function(images).graph


def operations(layer, dtype="float32"):
    """The types of the kernels of a forward and backward pass."""
    return [operation.type for operation in graph_of(layer, dtype).get_operations()]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_each_normalisation_has_one_fused_gradient(dtype):
    assert operations(lambda: DenseBlock(3, 2), dtype).count("FusedBatchNormGradV3") == 6
    assert operations(lambda: DenseBlock(3, 2, bottleneck=False), dtype).count("FusedBatchNormGradV3") == 3
    assert operations(Head, dtype).count("FusedBatchNormGradV3") == 1


def test_double_precision_takes_the_plain_form():
    assert "FusedBatchNormGradV3" not in operations(lambda: DenseBlock(3, 2), "float64")


@pytest.mark.parametrize("batch_statistics", [True, False])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-6), ("float16", 2e-3), ("bfloat16", 2e-2)])
def test_gradients_equal_the_plain_ones_in_double_precision_to_rounding(dtype, rtol, batch_statistics):
    rng = np.random.default_rng(0)
    upstream, x = (tf.cast(rng.normal(mean, 1, (4, 6, 5, 7)), dtype) for mean in (0.2, 0.5))
    gamma, beta = rng.normal(size=(2, 7))
    gamma[0], beta[0] = 0, 1e-3  # a scale that has vanished
    exact = tf.cast(x, tf.float64)
    standard = standardisation(*Plain.moments(exact), 1e-5)
    norm = Normalization.of(tf.constant(gamma), tf.constant(beta), standard)
    expected = Plain.through_norm_relu(tf.cast(upstream, tf.float64), exact, norm, batch_statistics)
    norm = Normalization(*(tf.cast(values, tf.float32) for values in norm))
    found = Kernels.through_norm_relu(upstream, x, norm, batch_statistics)
    assert found[0].dtype == x.dtype
    for one, other in zip(found, expected, strict=True):
        oracle.assert_close(tf.cast(one, tf.float64), other, rtol, "gradient")


@pytest.mark.parametrize("layer", [lambda: DenseBlock(3, 2), lambda: DenseBlock(3, 2, bottleneck=False), Head])
def test_nothing_is_computed_again_before_the_gradient_is_there(layer):
    """TensorFlow would do so at once, and keep all readers' inputs: depth times channels."""
    late = set()
    graph = graph_of(layer)
    for operation in graph.get_operations():  # in an order in which inputs come first
        before = [*operation.control_inputs, *(tensor.op for tensor in operation.inputs)]
        if operation.name == "upstream" or late.intersection(one.name for one in before):
            late.add(operation.name)
    gradients = [one for one in graph.get_operations() if one.type == "FusedBatchNormGradV3"]
    for relu in (one.inputs[0].op for one in gradients):
        again = relu.inputs[1].op  # the ReLU's output
        assert relu.type == "ReluGrad"
        assert again.name in late
        assert {tensor.op.name for tensor in again.inputs} <= late
