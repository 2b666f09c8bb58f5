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


def operations(layer, dtype="float32"):
    """The kernels of a forward and backward pass."""
    keras.config.set_dtype_policy(dtype)
    images = tf.zeros((2, 5, 4, 3), dtype.removeprefix("mixed_"))
    layer = layer()
    layer.build(images.shape)

    @tf.function(autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(images, training=True))
        return tape.gradient(loss, [v.value for v in layer.trainable_variables])

    return [operation.type for operation in step.get_concrete_function(images).graph.get_operations()]


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
