import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import serving, training
from keras_densenet.cli import app
from keras_densenet.data import read_images
from keras_densenet.ops import Framing
from keras_densenet.serving.samples import sample_files
from tests import tiny
from tests.serving.conftest import LABELS

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "1")


def test_a_whole_export_passes_and_its_answers_are_keras(exported):
    report = serving.check_saved_model(exported.folder)
    assert report.deviation.keys() == report.signatures.keys() == report.warm_seconds.keys()
    assert max(value for name, value in report.deviation.items() if name != "image_bytes") <= 1e-5


def _sharp(channels=3, crop_pct=None):
    """A network for pixels in 0..1 whose answers depend much on what is in a file."""
    model = tiny.network(stem="imagenet", input_shape=(19, 16, channels))
    model.framing = Framing((19, 16), channels, crop_pct, "bicubic")
    pixels = read_images(sample_files((19, 16), 1e6), model.framing) / 255
    kernel, _ = model.layers[-1].get_weights()
    logits = keras.Model(model.input, model.layers[-1].input)(pixels).numpy() @ kernel
    scale = 2 / logits.std(0)
    model.layers[-1].set_weights([kernel * scale, -logits.mean(0) * scale])
    return model


@pytest.mark.parametrize("grey", [False, True], ids=["RGB", "grey"])
@pytest.mark.parametrize("crop_pct", [None, 0.7], ids=["as usual", "cut more"])
def test_predictions_and_the_export_say_the_same_of_files_of_every_kind(tmp_path, crop_pct, grey):
    model = _sharp(1 if grey else 3, crop_pct)
    model.preprocessing = "unit"
    model.save(tmp_path / "model.keras")
    folder = kd.export_saved_model(keras.models.load_model(tmp_path / "model.keras"), tmp_path, "net")
    files = sample_files((19, 16), 1e6)
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    network, _ = training.load_model(tmp_path / "model.keras")
    predicted = np.array([row for _, row in training.predict(network, paths)])
    native = serving.NativeModel(folder)
    served = native.run("image_bytes", {"image_bytes": np.array(files, object)})
    native.close()
    assert served["ok"].all()
    assert np.ptp(predicted, 0).max() > 0.1  # what is cut out matters
    np.testing.assert_allclose(served["probabilities"], predicted, atol=0.02)
    assert serving.check_saved_model(folder).deviation["image_bytes"] <= 0.02


def test_a_graph_that_cuts_files_otherwise_than_predictions_is_found(tmp_path, monkeypatch):
    def stretch(image, box, size, interpolation):
        return tf.cast(tf.image.resize(image, size), tf.uint8)

    model = _sharp()
    monkeypatch.setattr("keras_densenet.ops.resize_box", stretch)
    folder = kd.export_saved_model(model, tmp_path, "net", preprocessing=keras.layers.Rescaling(1 / 255))
    with pytest.raises(ValueError, match=r"probabilities of image_bytes deviates from Keras' by"):
        serving.check_saved_model(folder)


def test_a_changed_a_missing_and_a_new_file_are_found(copy):
    (copy / "assets" / "labels.txt").write_text("other")
    (copy / "fingerprint.pb").unlink()
    (copy / "new").touch()
    with pytest.raises(ValueError, match=r"is not as it was written: assets/labels\.txt, fingerprint\.pb, new changed"):
        serving.check_saved_model(copy)


def test_a_graph_that_is_cut_does_not_load(copy):
    graph = copy / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded"):
        serving.NativeModel(copy)


def test_the_answers_of_another_model_are_found(copy, tmp_path):
    other = kd.export_saved_model(tiny.network(stem="imagenet"), tmp_path, "other", labels=LABELS)
    shutil.copy(other / "saved_model.pb", copy)
    card = serving.card.read_card(copy)
    (copy / serving.card.FILE).write_text(json.dumps({**card, "sha256": serving.card.hashes(copy)}))
    with pytest.raises(ValueError, match=r"probabilities of \w+ deviates from Keras' by"):
        serving.check_saved_model(copy)


def test_the_command_prints_every_signature(exported):
    result = CliRunner().invoke(app, ["export", str(exported.folder), "--check"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    for word in ("serving_default", "serving_uint8", "image_bytes", "features", "uint8(?, 19, 16, 3)", "loaded in"):
        assert word in result.output
