"""What a reader of a folded block becomes in a graph of constants."""

import numpy as np
import pytest
import tensorflow as tf

from keras_densenet.ops import FoldedWeights, folded_dense_block, folded_norm_relu, folded_read

SCALES = {
    "rising": (0.5, 2.0, 1.0),
    "falling": (-0.5, -2.0, -1.0),
    "both": (1.5, -2.0, 0.7),
    "next to none": (0.0, 1e-35, -1e-40),
}


def _weights(scales, side=1):
    random = np.random.default_rng(0)
    arrays = scales, random.normal(size=3), random.normal(size=(side, side, 3, 4)), random.normal(size=4)
    return [np.asarray(array, "float32") for array in arrays]


def _graph(function, weights):
    """A function of the images alone: the weights are constants of its graph."""
    run = tf.function(lambda x: function(x, FoldedWeights(*map(tf.constant, weights))))
    return run.get_concrete_function(tf.TensorSpec((None, 5, 4, 3)))


def _block(x, weights):
    return folded_dense_block(x, [weights._replace(kernel2=tf.ones((3, 3, 4, 2)))])


@pytest.mark.parametrize("scales", SCALES.values(), ids=SCALES)
def test_constants_go_into_a_1x1_convolution_and_leave_the_output_as_it_is(scales):
    images = np.random.default_rng(1).normal(size=(2, 5, 4, 3)).astype("float32") * 3
    graph, weights = _graph(_block, _weights(scales)), FoldedWeights(*_weights(scales))
    kinds = {operation.type for operation in graph.graph.get_operations()}
    assert kinds.isdisjoint({"FusedBatchNormV3", "Mul"})
    assert {"Maximum": max(scales) > 0, "Minimum": min(scales) < 0} == {
        kind: kind in kinds for kind in ("Maximum", "Minimum")
    }
    np.testing.assert_allclose(graph(tf.constant(images)), _block(images, weights), rtol=2e-5, atol=2e-5)


def test_a_convolution_that_pads_and_16_bits_keep_the_affine_map():
    for side, dtype in ((3, "float32"), (1, "bfloat16")):
        weights = _weights(SCALES["both"], side)
        images = np.random.default_rng(1).normal(size=(2, 5, 4, 3)).astype("float32")

        def read(x, weights, dtype=dtype):
            return folded_read(tf.cast(x, dtype), weights)[0]

        expected = folded_norm_relu(tf.cast(images, dtype), *map(tf.constant, weights[:2]))
        np.testing.assert_array_equal(_graph(read, weights)(tf.constant(images)), expected)
