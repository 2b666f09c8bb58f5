import json
import shutil

import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import serving
from keras_densenet.cli import app
from tests import tiny
from tests.serving.conftest import LABELS


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "1")


def test_a_whole_export_passes_and_its_answers_are_keras(exported):
    report = serving.check_saved_model(exported.folder)
    assert report.deviation.keys() == report.signatures.keys() == report.warm_seconds.keys()
    assert max(report.deviation.values()) <= 1e-5


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
