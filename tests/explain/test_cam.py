"""Grad-CAM against its definition, on networks of Keras' own layers and in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from keras_densenet import explain
from tests.oracle import images_like, plain_model, randomise
from tests.tiny import KINDS, network


def model_and_images(kind="BC", stem="cifar", count=3, **options):
    model = randomise(network(kind, stem, **options))
    return model, images_like((count, *model.input_shape[1:]), "float32")


def oracle(model, images, layer, classes, method):
    """Maps of a level, which is what `layer` reads, by Keras' own layers in float64 numpy; `(batch, h, w)`."""
    plain = plain_model(model)
    plain.layers[-1].activation = keras.activations.linear
    both = keras.Model(plain.input, [plain.get_layer(layer).input, plain.get_layer("classifier").input])
    with tf.GradientTape() as tape:
        tape.watch(images := tf.constant(images))
        features, pooled = both(images, training=False)
        scores = tf.gather(plain.get_layer("classifier")(pooled), classes, batch_dims=1)
    g, a = tape.gradient(scores, features).numpy().astype("float64"), features.numpy().astype("float64")
    if method == "grad-cam":
        weights = g.mean((1, 2), keepdims=True)
    else:
        y = np.exp(scores.numpy().astype("float64"))[:, None, None, None]
        first, second, third = y * g, y * g**2, y * g**3
        below = 2 * second + np.maximum(a, 0).sum((1, 2), keepdims=True) * third
        alpha = np.divide(second, below, out=np.zeros_like(below), where=below != 0)
        weights = (alpha * np.maximum(first, 0)).sum((1, 2), keepdims=True)
    maps = np.maximum((weights * a).sum(-1), 0)
    return maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-30)


@pytest.mark.slow
@pytest.mark.parametrize("method", explain.METHODS)
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_those_of_keras_own_layers(kind, stem, method):
    model, images = model_and_images(kind, stem)
    *_, first, last = model.pyramid_outputs
    for level, layer in ((first, "transition1_norm"), (last, "pool")):
        found = kd.grad_cam(model, images, level=level, method=method)
        expected = oracle(model, images, layer, found.classes, method)
        expected = tf.image.resize(expected[..., None], images.shape[1:3]).numpy()[..., 0]
        assert expected.max() > 0.5
        np.testing.assert_allclose(found.maps, expected, atol=2e-4)


def test_at_the_last_level_grad_cam_is_the_classifiers_weighted_sum():
    model, images = model_and_images()
    features = model.pyramid_outputs["P1"]
    features, before = keras.Model(model.input, [features, model.layers[-1].input])(images)
    kernel, bias = (weight.numpy() for weight in model.layers[-1].weights)
    logits = before.numpy() @ kernel + bias
    found = kd.grad_cam(model, images)  # the last level
    np.testing.assert_array_equal(found.classes, logits.argmax(-1))
    np.testing.assert_allclose(found.scores, logits.max(-1), rtol=1e-5)
    maps = np.maximum(np.einsum("bhwc,cb->bhw", features, kernel[:, found.classes]), 0)
    maps /= maps.max((1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps, tf.image.resize(maps[..., None], (9, 8))[..., 0], atol=1e-5)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_the_hand_written_gradient_of_training_gives_the_same(stem):
    model, images = model_and_images(stem=stem)
    model.trainable = False  # and so training=True keeps to the moving statistics
    for level in [*model.pyramid_outputs][:-1]:
        both, gradients = keras.Model(model.input, [model.pyramid_outputs[level], model.output]), []
        for training in (True, False):
            with tf.GradientTape() as tape:
                tape.watch(images := tf.constant(images))
                features, outputs = both(images, training=training)
                outputs = outputs[:, 2]
            gradients.append(tape.gradient(outputs, features).numpy())
        np.testing.assert_allclose(*gradients, atol=1e-5 * np.abs(gradients[0]).max())


@pytest.mark.slow
@pytest.mark.parametrize("method", explain.METHODS)
def test_a_folded_network_gives_the_same_maps(method):
    model, images = model_and_images(stem="imagenet")
    folded = kd.fold(model)
    for level in model.pyramid_outputs:
        expected, found = (kd.grad_cam(network, images, level=level, method=method) for network in (model, folded))
        np.testing.assert_allclose(found.maps, expected.maps, atol=1e-3, err_msg=level)
        np.testing.assert_array_equal(found.classes, expected.classes)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "stem"), [((33, 47, 1), "imagenet"), ((11, 9, 1), "cifar"), ((8, 13, 5), "cifar")])
def test_any_channels_and_odd_sizes_at_every_level(shape, stem):
    model, images = model_and_images(stem=stem, input_shape=shape)
    for level in model.pyramid_outputs:
        for method in explain.METHODS:
            found = kd.grad_cam(model, images, level=level, method=method)
            assert found.maps.shape == images.shape[:3]
            assert found.maps.dtype == "float32"
            assert np.isfinite(found.maps).all()
            assert found.maps.min() >= 0
            assert found.maps.max() <= 1
            assert explain.overlay(images, found.maps).shape == (*images.shape[:3], 3)


def test_images_do_not_depend_on_their_batch_and_classes_may_differ():
    model, images = model_and_images(count=5)
    classes = [4, 0, 1, 2, 3]
    whole = kd.grad_cam(model, images, classes)
    parts = kd.grad_cam(model, [*images], classes, batch_size=2)
    np.testing.assert_allclose(whole.maps, parts.maps, atol=1e-5)
    np.testing.assert_array_equal(whole.classes, classes)
    np.testing.assert_allclose(kd.grad_cam(model, images[1:2], 0).maps, whole.maps[1:2], atol=1e-5)
    assert not np.allclose(kd.grad_cam(model, images[1:2], 1).maps, whole.maps[1:2], atol=0.05)


def test_heads_of_ones_own():
    model, images = model_and_images()
    expected = kd.grad_cam(model, images)
    weights = model.layers[-1].get_weights()
    for activation in (None, "sigmoid"):
        other = model.reset_classifier(5, activation)
        other.layers[-1].set_weights(weights)
        np.testing.assert_allclose(kd.grad_cam(other, images).maps, expected.maps, atol=1e-5)
    backbone = keras.Model(model.input, model.pyramid_outputs["P1"])
    pool, dense = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)
    nested = keras.Sequential([keras.Input((9, 8, 3)), backbone, pool, dense, keras.layers.Softmax()])
    dense.set_weights(weights)
    found = kd.grad_cam(nested, images)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_the_map_lies_where_preprocessing_cut_the_image_out():
    model = randomise(network()).with_preprocessing("unit", size=(9, 8), crop_pct=0.5)
    images = images_like((2, 40, 36, 3), "float32")
    maps = kd.grad_cam(model, images).maps
    assert maps.shape == (2, 40, 36)
    rows, columns = np.nonzero(maps.max(0))
    assert (rows.min(), rows.max()) == (10, 29)
    assert (columns.min() >= 9, columns.max() <= 26) == (True, True)
    assert not maps[:, :10].any()
    assert not maps[:, :, :9].any()


def test_an_overlay_is_the_image_where_the_map_is_zero():
    images = np.full((1, 2, 2, 1), 200.0)
    picture = explain.overlay(images, np.array([[[0, 1.0], [0, 0]]]))
    assert picture.dtype == "uint8"
    assert (picture[0, 0, 0] == 200).all()
    red, green, blue = picture[0, 0, 1].astype(int)
    assert red > green > blue


def test_mistakes_are_one_sentence():
    model, images = model_and_images()
    for arguments, sentence in (
        ({"level": "P5"}, r"level must be one of P0, P1\. Received: level='P5'"),
        ({"method": "cam"}, r"method must be one of grad-cam, grad-cam\+\+\. Received: method='cam'"),
        ({"class_index": 5}, r"class_index must be in 0\.\.4\. Received: 5"),
        ({"class_index": [0, 1]}, r"one for each image\. Received: \[0, 1\]"),
        ({"class_index": 1.5}, r"must be a whole number, or one for each image\. Received: 1\.5"),
    ):
        with pytest.raises(ValueError, match=sentence):
            kd.grad_cam(model, images, **arguments)
    for wrong in (images[0], images[..., :1], images[:0], []):
        with pytest.raises(ValueError, match=r"images must be a batch of shape \(None, 9, 8, 3\)"):
            kd.grad_cam(model, wrong)
    with pytest.raises(ValueError, match="reset_classifier makes one"):
        kd.grad_cam(network(include_top=False), images)
    x = inputs = keras.Input((9, 8, 3))
    x = keras.layers.Flatten()(kd.layers.DenseBlock(1, 2)(x))
    with pytest.raises(ValueError, match="up to its Head"):
        kd.grad_cam(keras.Model(inputs, x), images)
