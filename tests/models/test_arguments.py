"""The arguments that DenseNet shares with keras.applications mean what they mean there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests.oracle import images_like
from tests.tiny import network

FEATURES = network(include_top=False).output_shape[-1]
IMAGES = images_like((2, 9, 8, 3), "float32")


def headless(**options):
    keras.utils.set_random_seed(1)
    return network(include_top=False, **options)


def test_without_top_come_the_features_of_the_head():
    model = headless()
    assert model.output_shape == (None, 4, 4, FEATURES)
    assert model.layers[-1].name == "head"
    assert np.min(model(IMAGES)) == 0


@pytest.mark.parametrize(("pooling", "reduce"), [("avg", np.mean), ("max", np.max)])
def test_pooling_reduces_the_features_over_the_image(pooling, reduce):
    features, pooled = headless()(IMAGES), headless(pooling=pooling)
    assert pooled.output_shape == (None, FEATURES)
    np.testing.assert_allclose(pooled(IMAGES), reduce(features, (1, 2)), rtol=1e-5, atol=1e-6)


def test_top_is_average_pooling_and_a_softmax_classifier():
    keras.utils.set_random_seed(1)
    model = network(classes=7)
    features = keras.Model(model.input, model.get_layer("head").output)(IMAGES)
    kernel, bias = model.get_layer("classifier").get_weights()
    expected = tf.nn.softmax(np.mean(features, (1, 2)) @ kernel + bias)
    np.testing.assert_allclose(model(IMAGES), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(bias, np.zeros(7))


def test_classifier_activation_none_gives_logits():
    model = network()
    logits = network(classifier_activation=None)
    logits.set_weights(model.get_weights())
    np.testing.assert_allclose(tf.nn.softmax(logits(IMAGES)), model(IMAGES), rtol=1e-5, atol=1e-6)


def test_preprocessing_layers_may_stand_in_front():
    image = keras.Input((9, 8, 3), name="raw")
    keras.utils.set_random_seed(1)
    model = network(input_tensor=keras.layers.Rescaling(1 / 255)(image), input_shape=None, name="mine")
    keras.utils.set_random_seed(1)
    plain = network()
    assert (model.name, [tensor.name for tensor in model.inputs]) == ("mine", ["raw"])
    np.testing.assert_allclose(model(IMAGES * 255), plain(IMAGES), rtol=1e-4, atol=1e-6)
    assert kd.cost(model) == kd.cost(plain)


def test_preprocessed_channels_are_those_of_the_stem():
    image = keras.Input((18, 16, 1))
    x = keras.layers.Concatenate()([keras.layers.AveragePooling2D(2)(image)] * 2)
    model = network(input_tensor=x, input_shape=None)
    assert model.input_shape == (None, 18, 16, 1)
    assert model.architecture.input_shape == (9, 8, 2)


def test_input_tensor_may_be_an_input_and_agree_with_input_shape():
    image = keras.Input((9, 8, 3), name="raw")
    assert network(input_tensor=image, input_shape=(9, 8, 3)).inputs == [image]


def test_input_tensor_and_another_input_shape_are_refused():
    with pytest.raises(ValueError, match=r"input_shape must .*Received: input_shape=\(9, 8, 3\), .*\(8, 9, 3\)$"):
        network(input_tensor=keras.Input((8, 9, 3)))


@pytest.mark.parametrize("tensor", [keras.Input((3,)), "image", IMAGES], ids=["rank 2", "text", "numbers"])
def test_what_is_no_image_tensor_is_refused_in_one_sentence(tensor):
    with pytest.raises(ValueError, match=r"^input_tensor must be a Keras tensor \(batch.* Received: [^\n]{1,200}$"):
        network(input_tensor=tensor, input_shape=None)


def test_name_is_the_models():
    assert network().name == "densenet"
    assert network(name="mine").name == "mine"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"pooling": "mean"}, r"pooling must be None, \"avg\" or \"max\"\. Received: pooling='mean'"),
        ({"classes": None}, r"classes must be a whole number >= 1\. Received: classes=None"),
        ({"classes": 0}, r"classes must be a whole number >= 1\. Received: classes=0"),
        ({"theta": -1}, r"theta must be in \(0, 1\]\. Received: theta=-1"),
        ({"growth_rate": 0.5}, r"growth_rate must be a whole number >= 1\. Received: growth_rate=0.5"),
        ({"depth": 40}, r"Give either blocks or depth\. Received: blocks=\(2, 1\), depth=40"),
        ({"blocks": None}, r"Give either blocks or depth\. Received: blocks=None, depth=None"),
        ({"blocks": None, "depth": 41}, r"depth must be 6n \+ 4.*Received: depth=41\. The nearest are 40 and 46\."),
        ({"input_shape": (1, 8, 3)}, r"input_shape must be at least 2x2 pixels.*input_shape=\(1, 8, 3\)"),
        ({"input_shape": (8, 8, None)}, r"input_shape must end in the number of channels.*\(8, 8, None\)"),
        ({"stem": "vgg"}, r"stem must be \"imagenet\", \"deep\" or \"cifar\"\. Received: stem='vgg'"),
        ({"stem_pool": "blur"}, r"stem_pool must be left out with stem=\"cifar\"\. Received: stem_pool='blur'"),
        ({"weights": "imagenet"}, r"No such weights are published for this network.*weights='imagenet'"),
    ],
)
def test_wrong_argument_is_named_with_its_value_in_one_sentence(wrong, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        network(**wrong)


def test_architecture_of_a_network_is_the_one_it_was_built_from():
    options = {"blocks": (1, 2, 3), "growth_rate": 4, "stem_channels": 6, "dropout_rate": 0.1, "classes": 9}
    for kind, theta, stem, pool in (("B", 1.0, "imagenet", "blur"), ("BC", 0.5, "deep", "max")):
        plan = network(kind, stem, input_shape=(None, 40, 2), stem_pool=pool, **options).architecture
        assert {key: getattr(plan, key) for key in options} == options
        assert (plan.bottleneck, plan.theta, plan.input_shape) == (True, theta, (None, 40, 2))
        assert (plan.stem, plan.stem_pool) == (stem, pool)
