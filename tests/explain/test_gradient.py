"""The norms of the gradients that reach the kernels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet import explain
from tests.oracle import images_like, plain_model, randomise
from tests.tiny import network


@pytest.mark.parametrize("kind", ["BC", "plain"])
def test_norms_are_those_of_keras_own_layers_and_nothing_moves(kind):
    model = randomise(network(kind))
    images, labels = images_like((4, 9, 8, 3), "float32"), np.array([0, 1, 2, 3])
    before = [weight.numpy() for weight in model.weights]
    found = explain.gradient_flow(model, images, labels)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    plain = plain_model(model)
    kernels = [variable for variable in plain.trainable_variables if variable.name == "kernel"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, plain(images, training=True)))
    expected = [np.linalg.norm(part) for part in tape.gradient(loss, [kernel.value for kernel in kernels])]
    assert [kernel.shape for kernel in found] == [tuple(kernel.shape) for kernel in kernels]
    np.testing.assert_allclose([kernel.norm for kernel in found], expected, rtol=1e-3)
    assert found[1].path == "block1/layer1_conv1_kernel"
    norm = np.linalg.norm(model.get_layer("block1").h[0][2].numpy())
    assert found[1].relative == pytest.approx(found[1].norm / norm)


@pytest.mark.parametrize("labels", [[0, 1, 5], [-1, 0, 1], [0, 1], [0.0, 1.0, 2.0], [[0], [1], [2]]])
def test_labels_that_are_no_classes_are_refused(labels):
    images = images_like((3, 9, 8, 3), "float32")
    with pytest.raises(
        ValueError, match=r"^labels must be a whole number in 0\.\.4 for each image\. Received: 3 images"
    ):
        explain.gradient_flow(network(), images, labels)
