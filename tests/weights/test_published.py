"""Published weights in one call: the network, its labels and its preprocessing are the row's; new classes are new."""

import dataclasses

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_densenet as kd
from keras_densenet import family
from keras_densenet.weights import catalogue
from tests.oracle import assert_close, plain_model, randomise

TINY = {"blocks": (2, 1), "growth_rate": 4, "stem": "imagenet"}
XRAYS = "torchxrayvision:chex"
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 1)).astype("float32")


def publish(name, monkeypatch, folder, **options):
    """Puts a file like a published one, with random weights, where it is kept after a download; gives the network."""
    row = catalogue.CHECKPOINTS[name]
    shape = (224, 224, row.channels)
    model = randomise(kd.DenseNet(**TINY, classes=row.classes, input_shape=shape, classifier_activation=None))
    path = folder / "models" / f"{row.variant}.safetensors"
    path.parent.mkdir(exist_ok=True)
    kd.save_weights(model, path, "torchvision")
    tensors = {**load_file(path), "op_threshs": np.ones(row.classes, "float32")}
    save_file({name: tensor for name, tensor in tensors.items() if row.include_top or "class" not in name}, path)
    changed = {"variant": "tiny", "url": f"https://example.org/{path.name}", "hash": None, "repository": None}
    monkeypatch.setitem(family.VARIANTS, "tiny", {**TINY, "classes": 1000, "input_shape": (224, 224, 3)})
    monkeypatch.setitem(catalogue.CHECKPOINTS, name, dataclasses.replace(row, **changed))
    monkeypatch.setenv("KERAS_HOME", str(folder))
    return model


@pytest.fixture
def xrays(monkeypatch, tmp_path):
    return publish(XRAYS, monkeypatch, tmp_path)


def test_one_call_builds_the_network_of_chest_xrays(xrays):
    row, model = kd.weights_info(XRAYS), kd.create_model("tiny", weights=XRAYS)
    assert (model.input_shape, model.output_shape) == ((None, 224, 224, 1), (None, 18))
    assert model.labels == list(row.labels)
    assert model.preprocessing == model.get_layer("preprocess").mode == row.preprocessing
    assert model.layers[-1].activation is keras.activations.sigmoid
    logits = kd.create_model("tiny", weights=XRAYS, classifier_activation=None)
    expected = plain_model(xrays)((PIXELS / 255 * 2 - 1) * 1024)
    assert_close(logits(PIXELS), expected, 1e-5, "logits")
    np.testing.assert_allclose(model(PIXELS), keras.ops.sigmoid(logits(PIXELS)), atol=1e-6)


def test_labels_travel_with_the_network_and_name_what_was_trained(xrays, tmp_path):
    model = kd.create_model("tiny", weights=XRAYS)
    model.save(tmp_path / "a.keras")
    for other in (keras.models.load_model(tmp_path / "a.keras"), kd.fold(model)):
        assert other.labels == model.labels
    named = kd.decode_predictions(model(PIXELS), top=18, labels=model.labels)
    assert [len(row) for row in named] == [11, 11]
    assert all(name == model.labels[number] != "" for row in named for number, name, _ in row)


def test_an_image_of_ones_own_gets_no_second_preprocessing(xrays):
    image = keras.Input((64, 64, 1))
    model = kd.create_model("tiny", weights=XRAYS, input_tensor=image)
    assert not model.is_preprocessed
    assert model.preprocessing == kd.weights_info(XRAYS).preprocessing
    backbone = kd.create_model("tiny", weights=XRAYS, include_top=False, pooling="avg")
    assert backbone.is_preprocessed
    assert backbone.input_shape == (None, None, None, 1)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [(XRAYS, "for 18"), ("timm:densenet121.tv_in1k", "for 1000"), ("radimagenet:densenet121.pytorch", "no classifier")],
)
def test_other_classes_make_a_new_classifier_and_one_line_says_so(name, theirs, monkeypatch, tmp_path, caplog):
    theirs_model = publish(name, monkeypatch, tmp_path)
    model = kd.create_model("tiny", weights=name, classes=5)
    assert caplog.messages == [f"The classifier for 5 classes is new: {name} has {theirs}"]
    assert (model.output_shape, model.labels) == ((None, 5), None)
    assert model.layers[-1].activation is keras.activations.softmax
    for stage in ("stem", "block2", "head"):
        for one, other in zip(model.stages[stage].weights, theirs_model.stages[stage].weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_other_channels_than_the_weights_have_are_refused_before_a_download(xrays, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"; adapt_channels=True of load_weights makes its 1 channels 3$"):
        kd.create_model("tiny", weights=XRAYS, input_shape=(224, 224, 3))
