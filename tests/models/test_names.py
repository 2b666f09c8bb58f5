"""What a layer is comes from its class and its place in the graph, whatever it is called."""

import h5py
import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.oracle import images_like, randomise
from tests.tiny import network

STAGES = ["stem", "stem_pool", "block1", "transition1", "block2", "head"]


def prefixed():
    return network(stem="imagenet", prefix="b_")


def renamed():
    model = network(stem="imagenet")
    for layer in model.layers:
        layer.name = "b_" + layer.name
    return model


def named_at_random():
    model = network(stem="imagenet")
    for number, layer in enumerate(model.layers):
        layer.name = f"layer_{number}"
    return model


def misnamed():
    """Every stage has the name of another."""
    model = network(stem="imagenet")
    for layer, name in zip(model.stages.values(), STAGES[1:] + STAGES[:1], strict=False):
        layer.name = name
    return model


@pytest.fixture(params=[prefixed, renamed, named_at_random, misnamed])
def model(request):
    return randomise(request.param())


@pytest.fixture
def plain(model):
    """The same network under its own names."""
    twin = network(stem="imagenet")
    twin.set_weights(model.get_weights())
    return twin


def images(model):
    return images_like((2, *model.input_shape[1:]), "float32")


def test_all_that_a_densenet_knows_of_itself_is_the_same(model, plain):
    assert [*model.stages] == [*STAGES, "classifier"]
    assert model.architecture == plain.architecture
    assert kd.cost(model) == kd.cost(plain)
    assert kd.explain.describe(model) == kd.explain.describe(plain)
    x = images(model)
    expected = kd.feature_pyramid(plain)(x)
    for level, features in kd.feature_pyramid(model)(x).items():
        np.testing.assert_array_equal(features, expected[level], err_msg=level)
    for ours, theirs in zip(kd.feature_reuse(model), kd.feature_reuse(plain), strict=True):
        np.testing.assert_array_equal(ours.weights, theirs.weights)
    np.testing.assert_array_equal(kd.grad_cam(model, x).maps, kd.grad_cam(plain, x).maps)


def test_stages_freeze_by_their_own_names(model):
    assert kd.freeze(model, "transition1") is model
    assert [model.stages[stage].trainable for stage in STAGES] == [False] * 4 + [True] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "ending"), [("keras_densenet", ".weights.h5"), ("torchvision", ".safetensors"), ("keras", ".h5")]
)
def test_weights_go_out_and_come_in(model, plain, layout, ending, tmp_path):
    kd.save_weights(model, tmp_path / f"a{ending}", layout)
    other = network(stem="imagenet", weights=tmp_path / f"a{ending}")
    x = images(model)
    np.testing.assert_allclose(other(x), plain(x), rtol=1e-4)
    kd.save_weights(randomise(plain, 7), tmp_path / f"b{ending}", layout)
    kd.load_weights(model, tmp_path / f"b{ending}")
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-4)


def test_files_have_the_stages_names_and_load_into_keras_too(model, plain, tmp_path):
    kd.save_weights(model, tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5") as file:
        names = {layer["vars"].attrs["name"] for layer in file["layers"].values()}
    assert names >= {*STAGES, "classifier"}
    plain.load_weights(tmp_path / "a.weights.h5")
    model.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(plain(images(model)), model(images(model)))


def test_models_made_from_it_are_densenets_too(model, plain):
    x = images(model)
    np.testing.assert_allclose(kd.fold(model)(x), plain(x), rtol=1e-4)
    other = model.reset_classifier(7)
    assert other.architecture.classes == 7
    assert other.output_shape == (None, 7)


def test_two_networks_fit_into_one_flat_model():
    image = keras.Input((9, 8, 3))
    a, b = (network(input_tensor=image, input_shape=None, prefix=prefix) for prefix in ("a_", "b_"))
    both = keras.Model(image, keras.layers.Concatenate()([a.output, b.reset_classifier(4).output]))
    names = [layer.name for layer in both.layers]
    assert {"a_stem", "a_block1", "a_pool", "a_classifier", "b_head", "b_pool", "b_classifier"} <= set(names)
    kd.freeze(a)
    assert not a.stages["block1"].trainable
    assert b.stages["block1"].trainable


def test_a_network_behind_another_is_the_last_one():
    first = network(include_top=False, prefix="first_")
    attention = keras.layers.Conv2D(3, 1, name="attention")(first.output)
    last = network(input_tensor=attention, input_shape=None, blocks=(1, 2))
    assert last.stages["stem"].name == "stem"
    assert (last.architecture.blocks, first.architecture.blocks) == ((1, 2), (2, 1))
    assert last.architecture.input_shape == (4, 4, 3)


def test_two_networks_beside_each_other_are_not_taken_for_one():
    image = keras.Input((9, 8, 3))
    a, b = (network(input_tensor=image, input_shape=None, prefix=prefix) for prefix in ("a_", "b_"))
    both = kd.DenseNetModel(image, keras.layers.Add()([a.output, b.output]))
    with pytest.raises(ValueError, match=r"^The model must hold one DenseNet; .* with '._head' of one and '._head' of"):
        _ = both.architecture


def test_a_model_without_a_stem_is_no_densenet():
    x = keras.Input((9, 8, 3))
    with pytest.raises(ValueError, match=r"^The model must hold a DenseNet from its stem on\. Received: 'part'$"):
        _ = kd.DenseNetModel(x, kd.layers.Head()(x), name="part").architecture
