"""`with_preprocessing`: raw pixels in, the network's outputs out, and conventions that cannot be mixed up."""

import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.oracle import randomise
from tests.tiny import network

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 30, 25, 3), "uint8")
OWN = {"mean": [100.0, 110.0, 120.0], "std": 50.0}


@pytest.fixture
def model():
    return randomise(network(stem="imagenet"))


@pytest.fixture
def raw(model):
    """The model of any raw pixels on `model`."""
    return model.with_preprocessing("torch", (19, 16), 0.9, "bicubic")


def test_outputs_are_the_networks_of_preprocessed_pixels(model, raw):
    pixels = kd.layers.Preprocess("torch", (19, 16), 0.9, "bicubic")(PIXELS)
    np.testing.assert_array_equal(raw(PIXELS), model(pixels))
    assert raw.input_shape == (None, None, None, 3)
    assert [id(variable) for variable in raw.weights] == [id(variable) for variable in model.weights]


def test_without_a_size_images_come_in_the_networks_own(model):
    pixels = PIXELS[:, :19, :16]
    np.testing.assert_array_equal(
        model.with_preprocessing("caffe")(pixels), model(kd.preprocess_input(pixels, "caffe"))
    )


def test_the_model_is_a_densenet_in_every_other_way(model, raw):
    expected = raw(PIXELS)
    inner = kd.layers.Preprocess("torch", (19, 16), 0.9, "bicubic")(PIXELS)
    assert raw.architecture == model.architecture
    for level, features in kd.feature_pyramid(raw)(PIXELS).items():
        np.testing.assert_array_equal(features, kd.feature_pyramid(model)(inner)[level], err_msg=level)
    np.testing.assert_allclose(kd.fold(raw)(PIXELS), expected, rtol=1e-5, atol=1e-6)
    other = raw.reset_classifier(3)
    assert (other.output_shape, other(PIXELS).shape) == ((None, 3), (2, 3))
    assert isinstance(other.layers[1], kd.layers.Preprocess)
    np.testing.assert_array_equal(model(inner), expected)  # and the network is as it was


def test_a_folded_network_gets_the_layer_as_well(model):
    folded = kd.fold(model).with_preprocessing(OWN, (19, 16))
    expected = model.with_preprocessing(OWN, (19, 16))(PIXELS)
    np.testing.assert_allclose(folded(PIXELS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_weights_keep_their_convention_wherever_they_go(model, raw, tmp_path):
    assert model.preprocessing is None
    for mode in ("torch", OWN):
        model.preprocessing = None
        fresh = network(stem="imagenet")
        fresh.preprocessing = mode
        fresh.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        for other in (loaded, kd.fold(loaded), loaded.reset_classifier(3), keras.models.clone_model(loaded)):
            assert other.preprocessing == mode
        front = loaded.with_preprocessing().layers[1]
        assert (type(front), front.mode) == (kd.layers.Preprocess, mode)


def test_raw_models_save_and_load(raw, tmp_path):
    raw.save(tmp_path / "raw.keras")
    again = keras.models.load_model(tmp_path / "raw.keras")
    np.testing.assert_array_equal(again(PIXELS), raw(PIXELS))
    assert again.pyramid_outputs.keys() == raw.pyramid_outputs.keys()


def test_a_second_preprocessing_is_refused(raw):
    with pytest.raises(ValueError, match=r"^The model already has preprocessing in front, its layer 'preprocess'$"):
        raw.with_preprocessing("torch")
    scaled = keras.layers.Rescaling(1 / 255, name="scale")(keras.Input((9, 8, 3)))
    with pytest.raises(ValueError, match=r"^The model already has .*'scale'$"):
        network(input_tensor=scaled, input_shape=None).with_preprocessing("unit")


def test_another_convention_than_the_weights_is_refused_unless_it_is_set(model):
    model.preprocessing = "torch"
    with pytest.raises(ValueError, match=r"^The weights were trained behind mode='torch'; .* Received: mode='caffe'$"):
        model.with_preprocessing("caffe")
    model.preprocessing = "caffe"
    assert model.with_preprocessing("caffe").layers[1].mode == "caffe"


def test_weights_that_need_another_convention_than_the_layer_in_front_are_refused(raw):
    raw.preprocessing = "torch"
    with pytest.raises(ValueError, match=r"^The weights need preprocessing 'unit', but 'preprocess' .*'torch'"):
        raw.preprocessing = "unit"
    assert raw.preprocessing == "torch"


def test_unknown_conventions_and_sizes_that_do_not_fit_are_refused(model):
    with pytest.raises(ValueError, match=r"^mode must be given"):
        model.with_preprocessing()
    with pytest.raises(ValueError, match=r"^mode must be .* Received: mode='tf'$"):
        model.preprocessing = "tf"
    with pytest.raises(ValueError, match=r"^size must be the network's own \(19, 16\)\. Received: size=32$"):
        model.with_preprocessing("torch", size=32)
    with pytest.raises(ValueError, match=r"^mode='torch' is for images of 3 channels\. Received: 1;"):
        network(input_shape=(9, 8, 1)).with_preprocessing("torch")
