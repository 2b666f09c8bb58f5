"""What a model knows about itself beside its weights: its classes' names, and how files become its input."""

import keras
import numpy as np
import pytest
from PIL import Image

import keras_densenet as kd
from keras_densenet import training
from keras_densenet.models import framing_of
from keras_densenet.ops import Framing
from tests.tiny import network

LABELS = ["ant", "bee", "cow", "dog", "eel"]


@pytest.fixture
def model():
    model = network(stem="imagenet")
    model.labels, model.preprocessing, model.framing = LABELS, "torch", Framing((19, 16), 3, 0.7, "bicubic")
    return model


def test_labels_and_framing_are_saved_and_go_with_the_network(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for other in (loaded, kd.fold(model), model.with_preprocessing(), kd.explain.flat(model)):
        assert other.labels == LABELS
        assert other.framing == model.framing
    assert model.reset_classifier(3).labels is None
    assert model.reset_classifier(3).framing == model.framing
    assert training.load_model(tmp_path / "model.keras")[1] == LABELS


def test_a_network_inside_of_another_model_says_how_files_become_its_input(model):
    image = keras.Input((19, 16, 3))
    around = keras.Model(image, keras.layers.Dense(2)(model(image)))
    assert framing_of(around) == model.framing
    assert framing_of(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])) == Framing((8, 8), 3)


def test_a_model_of_any_size_takes_files_as_they_are(model):
    any_size = model.with_preprocessing(size=(19, 16))
    assert any_size.framing.size is None
    front = any_size.get_layer("preprocess")
    assert (front.crop_pct, front.interpolation) == (0.7, "bicubic")  # what the weights were evaluated with
    front = model.with_preprocessing(size=(19, 16), crop_pct=1.0, interpolation="bilinear").get_layer("preprocess")
    assert (front.crop_pct, front.interpolation) == (1.0, "bilinear")


@pytest.mark.parametrize(
    ("note", "value", "sentence"),
    [
        ("labels", ["one", "two"], r"labels must be a list of 5 names\. Received: \['one', 'two'\]"),
        ("labels", "words", "labels must be a list of 5 names"),
        ("framing", Framing((8, 8), 3), r"framing must be of the model's size \(19, 16\)\. Received: "),
    ],
)
def test_notes_that_do_not_fit_are_refused(model, note, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        setattr(model, note, value)


@pytest.mark.parametrize("wrong", [{"crop_pct": 0.0}, {"crop_pct": 1.5}, {"interpolation": "nearest"}])
def test_a_framing_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Framing((8, 8), 3, **wrong)


@pytest.mark.slow
def test_predictions_get_the_preprocessing_that_weights_are_known_to_need(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (19, 16, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    model.save(tmp_path / "model.keras")
    loaded, _ = training.load_model(tmp_path / "model.keras")
    ((_, found),) = training.predict(loaded, [tmp_path / "a.png"])
    expected = model.with_preprocessing(size=(19, 16))(pixels[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
