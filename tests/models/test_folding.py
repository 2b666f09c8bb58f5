"""The inference form of a network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests.around import AROUND, pixels_for
from tests.oracle import images_like, randomise
from tests.tiny import KINDS, STEMS, network, run_fresh


@pytest.fixture(params=[(kind, stem) for kind in KINDS for stem in STEMS], ids="-".join)
def model(request):
    return randomise(network(*request.param))


def _images(model):
    return images_like((3, *model.input_shape[1:]), "float32")


@pytest.mark.slow
def test_outputs_are_the_same(model):
    images = _images(model)
    expected = model(images, training=False).numpy()
    np.testing.assert_allclose(kd.fold(model)(images).numpy(), expected, rtol=1e-5, atol=1e-7)


def test_outputs_are_the_same_in_float64_to_rounding(float64):
    for stem in ("imagenet", "deep"):
        model = randomise(network(stem=stem))
        images = images_like((3, *model.input_shape[1:]))
        np.testing.assert_allclose(kd.fold(model)(images), model(images, training=False), rtol=1e-12)


@pytest.mark.slow
def test_no_normalisation_is_left_and_nothing_trains(model):
    folded = kd.fold(model)
    norms = ("gamma", "beta", "moving_mean", "moving_variance")
    assert not [weight.path for weight in folded.weights if weight.name.endswith(norms)]
    assert {weight.path.split("/")[0] for weight in folded.trainable_weights} <= {"classifier"}
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)


def test_a_normalisation_behind_a_1x1_convolution_costs_no_operation_and_a_readers_costs_one():
    model = kd.fold(network())
    graph = tf.function(lambda images: model(images)).get_concrete_function(tf.TensorSpec((1, 9, 8, 3))).graph
    kinds = [operation.type for operation in graph.get_operations()]
    layers = sum(model.architecture.blocks)
    readers = layers + 2  # and the transition and the head
    assert kinds.count("FusedBatchNormV3") == readers
    assert kinds.count("BiasAdd") == layers + 1  # of each 1x1, and the classifier
    assert {"Mul", "Pow"}.isdisjoint(kinds)


@pytest.mark.slow
def test_the_original_is_left_alone(model):
    before = [weight.numpy() for weight in model.weights]
    kd.fold(model)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_the_architecture_and_the_pyramid_are_kept():
    model = randomise(network(stem="imagenet"))
    folded = kd.fold(model)
    assert folded.architecture == model.architecture
    images = _images(model)
    expected = kd.feature_pyramid(model)(images, training=False)
    for level, features in kd.feature_pyramid(folded)(images).items():
        np.testing.assert_allclose(features, expected[level], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_folded_network_saves_and_loads_in_a_fresh_process(tmp_path):
    model = kd.fold(randomise(network(stem="imagenet")))
    images = _images(model)
    model.save(tmp_path / "folded.keras")
    np.save(tmp_path / "images.npy", images)
    script = (
        "import sys, keras, numpy, keras_densenet\n"
        "model = keras.models.load_model(sys.argv[1])\n"
        "numpy.save(sys.argv[3], model(numpy.load(sys.argv[2])))"
    )
    run_fresh(script, tmp_path / "folded.keras", tmp_path / "images.npy", tmp_path / "out.npy")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model(images), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("around", [name for name in AROUND if name != "folded"])
def test_a_network_inside_any_model_is_folded(around):
    model = AROUND[around]()
    folded, images = kd.fold(model), pixels_for(model)
    expected = model(images, training=False)
    assert isinstance(folded, kd.DenseNetModel)
    assert not any(isinstance(layer, keras.Model) for layer in folded.layers)
    assert not [weight.path for weight in folded.weights if "gamma" in weight.path]
    np.testing.assert_allclose(folded(images), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model(images, training=False), expected)


def test_a_model_of_two_heads_keeps_both():
    base = randomise(network())
    heads = {"kind": base.output, "age": keras.layers.Dense(1)(base.get_layer("pool").output)}
    model = keras.Model(base.input, heads)
    images = pixels_for(model)
    found, expected = kd.fold(model)(images), model(images, training=False)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_folded_network_is_compiled_as_the_model_was():
    def loss_of_ones_own(labels, outputs):
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)

    model = network()
    model.compile("sgd", loss_of_ones_own, metrics=["accuracy"])
    images = pixels_for(model)
    labels = np.zeros(len(images))
    expected = model.evaluate(images, labels, verbose=0)
    np.testing.assert_allclose(kd.fold(model).evaluate(images, labels, verbose=0), expected, rtol=1e-4)


def test_what_has_no_graph_is_refused():
    never_built = keras.Sequential([keras.layers.Rescaling(1 / 255), network()], name="loose")
    with pytest.raises(ValueError, match=r"must be functional, or sequential and built .* Received: 'loose'$"):
        kd.fold(never_built)


def test_there_must_be_something_to_fold():
    folded = kd.fold(network())
    with pytest.raises(ValueError, match=r"DenseNet layers that are not folded yet. Received: 'densenet'"):
        kd.fold(folded)


def test_mixed_precision_keeps_the_affine_maps_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = randomise(network())
    folded, images = kd.fold(model), _images(model)
    assert {weight.dtype for weight in folded.weights if weight.name.endswith(("scale", "shift"))} == {"float32"}
    np.testing.assert_allclose(folded(images), model(images, training=False), atol=0.05)
