"""Pyramid features by stride, and new classifiers on the same backbone."""

import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.oracle import images_like
from tests.tiny import STEMS, network

SIZE = 64


def pyramid_network(stem, **options):
    blocks = (1, 2, 1) if stem == "cifar" else (1, 2, 1, 1)
    return network(stem=stem, blocks=blocks, input_shape=(SIZE, SIZE, 3), **options)


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize(
    ("stem", "levels"),
    [
        ("imagenet", ["P1", "P2", "P3", "P4", "P5"]),
        ("deep", ["P1", "P2", "P3", "P4", "P5"]),
        ("cifar", ["P0", "P1", "P2"]),
    ],
)
def test_level_p_has_stride_2_to_the_p(stem, levels, top):
    outputs = pyramid_network(stem, include_top=top).pyramid_outputs
    assert list(outputs) == levels
    for level, output in outputs.items():
        assert output.shape[1:3] == (SIZE // 2 ** int(level[1:]),) * 2


@pytest.mark.parametrize("stem", STEMS)
def test_levels_are_stem_blocks_and_head(stem):
    model = pyramid_network(stem)
    layers = ["block1", "block2"] if stem == "cifar" else ["stem", "block1", "block2", "block3"]
    expected = [model.get_layer(name).output for name in (*layers, "head")]
    assert all(a is b for a, b in zip(model.pyramid_outputs.values(), expected, strict=True))


def test_feature_pyramid_gives_the_features_of_the_model_it_shares_its_weights_with():
    model = pyramid_network("imagenet")
    pyramid = kd.feature_pyramid(model, ["P2", "P5"])
    images = images_like((2, SIZE, SIZE, 3), "float32")
    features = pyramid(images)
    assert list(features) == ["P2", "P5"]
    expected = keras.Model(model.input, model.get_layer("head").output)
    np.testing.assert_array_equal(features["P5"], expected(images))
    assert {id(variable) for variable in pyramid.weights} == {id(v) for v in model.weights} - {
        id(v) for v in model.get_layer("classifier").weights
    }


def test_feature_pyramid_has_all_levels_unless_told_otherwise():
    model = pyramid_network("cifar")
    assert list(kd.feature_pyramid(model).output) == list(model.pyramid_outputs)


def test_unknown_level_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"^levels must be among P0, P1, P2\. Received: P3, P9$"):
        kd.feature_pyramid(pyramid_network("cifar"), ["P1", "P3", "P9"])


def test_new_classifier_stands_on_the_same_backbone():
    model = network()
    other = model.reset_classifier(11)
    assert (other.output_shape, model.output_shape) == ((None, 11), (None, 5))
    assert isinstance(other, kd.DenseNetModel)
    assert other.architecture.classes == 11
    backbone = {id(variable) for layer in model.layers[:-1] for variable in layer.weights}
    assert {id(variable) for layer in other.layers[:-1] for variable in layer.weights} == backbone
    assert backbone.isdisjoint(id(variable) for variable in other.layers[-1].weights)


@pytest.mark.slow
def test_training_with_the_new_classifier_changes_the_shared_backbone():
    model = network()
    other = model.reset_classifier(3, classifier_activation=None, pooling="max")
    before = model.get_layer("stem").get_weights()[0]
    other.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    other.train_on_batch(images_like((4, 9, 8, 3), "float32"), np.array([0, 1, 2, 0]))
    assert not np.array_equal(model.get_layer("stem").get_weights()[0], before)


def test_headless_network_gets_its_first_classifier():
    model = network(include_top=False, input_shape=(None, None, 1)).reset_classifier(4)
    probabilities = model(images_like((2, 12, 9, 1), "float32"))
    np.testing.assert_allclose(np.sum(probabilities, -1), 1, rtol=1e-5)


def test_levels_that_are_no_list_are_refused_as_they_were_given():
    model = pyramid_network("cifar")
    with pytest.raises(ValueError, match=r"^levels must be .*Received: .*P1"):
        kd.feature_pyramid(model, "P1")


@pytest.mark.parametrize("classes", [0, 2.5, None])
def test_wrong_classes_are_refused(classes):
    with pytest.raises(ValueError, match=rf"^classes must be a whole number >= 1\. Received: classes={classes}$"):
        network().reset_classifier(classes)


def test_wrong_pooling_of_the_new_classifier_is_refused():
    with pytest.raises(ValueError, match=r"^pooling must be .* Received: pooling='sum'$"):
        network().reset_classifier(3, pooling="sum")
