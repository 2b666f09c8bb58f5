"""Weights files: what they hold, what they load into, and what is said of those that do not fit."""

import pathlib
import re

import h5py
import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.oracle import images_like, randomise
from tests.tiny import network
from tests.weights.foreign import one_sentence

IMAGES = images_like((2, 9, 8, 3), "float32")


@pytest.fixture
def saved(tmp_path):
    """A network and the path of its weights."""
    model = randomise(network())
    path = tmp_path / "mine.weights.h5"
    model.save_weights(path)
    return model, path


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_weights_come_back(saved, kind):
    model, path = saved
    np.testing.assert_array_equal(network(weights=kind(path))(IMAGES), model(IMAGES))


def test_names_in_the_file_tell_the_layer_of_the_paper(saved):
    _, path = saved
    with h5py.File(path) as file:
        layers = file["layers"]
        names = {f"{layer.attrs.get('name', key)}/{name}" for key, layer in _variables(layers) for name in layer}
    assert names >= {
        "block1/layer1_norm1_gamma",
        "block1/layer2_conv2_kernel",
        "block1/features_moving_mean",
        "block2/layer1_norm2_moving_variance",
        "transition1/conv_kernel",
        "stem/conv_kernel",
        "head/norm_beta",
    }


def _variables(layers):
    return [(key, layer["vars"]) for key, layer in layers.items() if len(layer["vars"])]


def test_headless_network_leaves_the_classifier_in_the_file_alone(saved):
    model, path = saved
    headless = network(include_top=False, pooling="avg", weights=path)
    for layer in headless.layers:
        for ours, theirs in zip(layer.weights, model.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_image_size_precision_and_dropout_do_not_matter(saved):
    model, path = saved
    for options in ({"input_shape": (None, None, 3)}, {"dropout_rate": 0.2}, {"classifier_activation": None}):
        other = network(weights=path, **options)
        for ours, theirs in zip(other.weights, model.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_weights_of_a_network_with_dropout_serve_one_without(tmp_path):
    model = randomise(network(dropout_rate=0.2))
    model.save_weights(tmp_path / "dropout.weights.h5")
    np.testing.assert_array_equal(network(weights=tmp_path / "dropout.weights.h5")(IMAGES), model(IMAGES))


def test_layers_in_front_of_the_network_do_not_matter(saved):
    model, path = saved
    x = keras.layers.Rescaling(1.0)(keras.Input((9, 8, 3)))
    other = network(input_tensor=x, input_shape=None, weights=path)
    np.testing.assert_array_equal(other(IMAGES), model(IMAGES))


def test_other_number_of_classes_is_refused_with_both_and_the_way_out(saved):
    _, path = saved
    with pytest.raises(ValueError, match=r"^classes must be 5 .*reset_classifier\. Received: classes=7$") as error:
        network(classes=7, weights=path)
    one_sentence(error, path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "layer"),
    [
        ({"growth_rate": 4}, "stem"),
        ({"blocks": (3, 1)}, "block1"),
        ({"blocks": (1, 1)}, "block1"),
        ({"blocks": (2, 2)}, "block2"),
        ({"blocks": (2, 1, 1)}, "transition2|block3"),
        ({"blocks": (2,)}, "head"),
        ({"bottleneck": False, "stem_channels": 6}, "block1"),
        ({"theta": 1.0, "stem_channels": 6}, "transition1"),
        ({"stem": "imagenet"}, "stem"),
        ({"input_shape": (9, 8, 2)}, "stem"),
    ],
    ids=str,
)
def test_weights_of_another_architecture_are_refused_with_the_layer_that_differs(saved, other, layer):
    _, path = saved
    with pytest.raises(ValueError, match=rf"another network: this one (needs|has no) ({layer})/") as error:
        network(**other, weights=path)
    one_sentence(error, path)


def test_headless_weights_do_not_make_a_classifier(tmp_path):
    path = tmp_path / "headless.weights.h5"
    network(include_top=False).save_weights(path)
    with pytest.raises(ValueError, match="classifier") as error:
        network(weights=path)
    one_sentence(error, path)


def test_weights_that_do_not_fit_leave_the_network_as_it_was(saved):
    """Nothing is half loaded: all tensors are compared before the first is assigned."""
    _, path = saved
    model = network(blocks=(2, 2))
    before = model.get_weights()
    with pytest.raises(ValueError, match="block2/"):
        kd.load_weights(model, path)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_missing_file_is_named(tmp_path):
    path = tmp_path / "missing.weights.h5"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))) as error:
        network(weights=path)
    one_sentence(error, path)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_truncated_file_is_named_as_such(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"is not a complete file of weights \(truncated") as error:
        network(weights=path)
    one_sentence(error, path)


def test_file_of_another_format_is_named_as_such(tmp_path):
    path = tmp_path / "text.weights.h5"
    path.write_text("epoch,loss\n" * 100)
    with pytest.raises(ValueError, match="is not a complete file of weights") as error:
        network(weights=path)
    one_sentence(error, path)


def test_hdf5_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "empty.weights.h5"
    h5py.File(path, "w").close()
    with pytest.raises(ValueError, match="holds no DenseNet in a layout") as error:
        network(weights=path)
    one_sentence(error, path)


@pytest.mark.parametrize("weights", ["", 3, True])
def test_what_is_no_weights_path_is_refused(weights):
    with pytest.raises(ValueError, match=rf"^weights must be None, .* or a path\. Received: weights={weights!r}$"):
        network(weights=weights)


def test_layer_names_the_weights_that_it_lacks_has_too_many_of_or_finds_in_another_shape():
    block = kd.layers.DenseBlock(1, 2, bottleneck=False, name="block1")
    block.build((None, 4, 4, 3))
    store = {}
    block.save_own_variables(store)
    store = {name: np.asarray(value) for name, value in store.items()}
    with pytest.raises(ValueError, match=r"^The weights of layer 'block1' lack layer1_norm1_beta$"):
        block.load_own_variables({name: value for name, value in store.items() if name != "layer1_norm1_beta"})
    with pytest.raises(ValueError, match=r"^The weights of layer 'block1' hold layer2_norm1_beta, which it does not"):
        block.load_own_variables({**store, "layer2_norm1_beta": np.zeros(3)})
    with pytest.raises(
        ValueError, match=r"^features_moving_mean of layer 'block1' has shape \(3,\)\. Received: \(4,\)$"
    ):
        block.load_own_variables({**store, "features_moving_mean": np.zeros(4)})
