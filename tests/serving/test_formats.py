import importlib.util
import json
import platform
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from keras_densenet import serving
from keras_densenet.cli import app
from keras_densenet.models import Decisions
from keras_densenet.serving.card import read_card
from keras_densenet.serving.configs import write_openvino_config
from keras_densenet.serving.formats import TOLERANCE, export_file
from keras_densenet.serving.runtimes import EXPORTERS, FILES, RUNTIMES
from tests import tiny
from tests.oracle import randomise
from tests.serving.server import Server

INSTALLED = [
    format for format, runtime in RUNTIMES.items() if all(map(importlib.util.find_spec, (runtime, EXPORTERS[format])))
]
LABELS = ["ant", "bee", "gnu 牛", "dog", "eel"]
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 19, 16, 3)).astype("uint8")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the converters' own


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return randomise(tiny.network(stem="imagenet"))


@pytest.fixture(scope="module", params=INSTALLED)
def exported(request, model, tmp_path_factory):
    """The format, the folder of all served models, and how far the export is from Keras."""
    base = tmp_path_factory.mktemp("served")
    options = {"labels": LABELS, "top_k": 3, "levels": ["P3"], "preprocessing": "unit"}
    path, deviation = export_file(model, base, request.param, "net", **options)
    assert path == base / "net" / "1" / FILES[request.param]
    return request.param, base, deviation


def test_every_signature_has_a_file_that_gives_keras_answers(exported, model):
    format, base, deviation = exported
    assert 0 < deviation <= 1e-5
    probabilities = model.predict_on_batch(PIXELS / np.float32(255))
    best = np.argsort(-probabilities, 1)[:, :3]
    for name, signature, pixels in (
        ("net", "serving_default", PIXELS.astype("float32")),
        ("net_uint8", "serving_uint8", PIXELS),
    ):
        found = serving.FileModel(base / name / "1")
        assert list(found.signatures) == [signature]
        assert found.labels == LABELS
        answer = found.run(signature, {"image": pixels})
        np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-5)
        np.testing.assert_allclose(answer["top_scores"], np.take_along_axis(probabilities, best, 1), atol=1e-5)
        if format == "openvino":
            np.testing.assert_array_equal(answer["top_indices"], best)
            np.testing.assert_array_equal(answer["index"], best[:, 0])
        else:
            assert [label.decode() for label in answer["label"]] == [LABELS[index] for index in best[:, 0]]
            assert answer["top_labels"].shape == (3, 3)
        assert answer.keys() > {"logits", "score"}
        found.close()
    features = serving.FileModel(base / "net_features" / "1")
    answer = features.run("features", {"image": PIXELS[:1].astype("float32")})
    assert answer.keys() == {"embedding", "P3"}
    features.close()


def test_beside_each_file_lie_labels_card_and_what_is_checked(exported):
    format, base, _ = exported
    for name, signature in (("net", "serving_default"), ("net_uint8", "serving_uint8"), ("net_features", "features")):
        folder = base / name / "1"
        assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == LABELS
        card = read_card(folder)
        assert (card["format"], card["signatures"], card["labels"]) == (format, [signature], LABELS)
        report = serving.check_saved_model(folder)
        assert list(report.signatures) == list(report.deviation) == [signature]
        assert report.operations.total() > 50


def test_a_file_that_was_changed_another_models_or_cut_is_found(exported, model, tmp_path):
    format, base, _ = exported
    folder = shutil.copytree(base / "net" / "1", tmp_path / "1")
    weights = folder / ("model.bin" if format == "openvino" else FILES[format])
    weights.write_bytes(weights.read_bytes()[:500])
    with pytest.raises(ValueError, match=f"is not as it was written: {weights.name} changed"):
        serving.check_saved_model(folder)
    with pytest.raises(ValueError, match=r"cannot be loaded|The run failed"):
        serving.FileModel(folder).run("serving_default", {"image": PIXELS.astype("float32")})


def test_what_a_file_is_asked_must_fit_it(exported):
    found = serving.FileModel(exported[1] / "net_uint8" / "1")
    with pytest.raises(ValueError, match=r"image must be uint8\. Received: float32"):
        found.run("serving_uint8", {"image": PIXELS.astype("float32")})
    with pytest.raises(ValueError, match="signature must be one of serving_uint8"):
        found.run("serving_default", {"image": PIXELS})
    with pytest.raises(ValueError, match="The run failed: "):
        found.run("serving_uint8", {"image": PIXELS[..., :2]})
    found.close()


@pytest.mark.parametrize("interface", ["rest_url", "grpc_url"])
def test_the_client_asks_a_server_of_the_files_as_it_asks_tensorflow_serving(exported, model, interface):
    _, base, _ = exported
    with Server(base, "net_uint8") as server:
        answer = serving.connect(getattr(server, interface)).predict("serving_uint8", {"image": PIXELS})
    expected = model.predict_on_batch(PIXELS / np.float32(255))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif("openvino" not in INSTALLED, reason="without OpenVINO")
def test_openvinos_server_finds_its_models_in_a_configuration_that_keeps_what_is_there(model, tmp_path):
    mine = {"config": {"name": "net", "base_path": "/elsewhere/net", "nireq": 4}}
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": [mine], "pipeline_config_list": []}))
    model.decisions = Decisions(thresholds=(0.3,) * 5)
    try:
        many = keras.Model(model.input, keras.layers.Activation("sigmoid")(model.layers[-1].output))
        path, _ = export_file(many, tmp_path, "openvino", "net", preprocessing="unit", precision="bfloat16")
    finally:
        model.decisions = None
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["pipeline_config_list"] == []
    first, *others = [entry["config"] for entry in config["model_config_list"]]
    assert first == {**mine["config"], "plugin_config": {"INFERENCE_PRECISION_HINT": "bf16"}}
    assert [(entry["name"], entry["base_path"]) for entry in others] == [
        ("net_uint8", "/models/net_uint8"),
        ("net_features", "/models/net_features"),
    ]
    report = serving.check_saved_model(path.parent)
    assert report.card["precision"] == "bfloat16"
    assert report.agreement.decisions == 1
    outputs = report.signatures["serving_default"].outputs
    assert {tf.as_dtype(outputs[name].dtype) for name in ("positive", "top_positive")} == {tf.uint8}  # it has no bool
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json' is not a configuration of OpenVINO Model Server"):
        write_openvino_config(tmp_path, ["net"], "f32")


@pytest.mark.skipif("openvino" not in INSTALLED, reason="without OpenVINO")
def test_the_command_exports_and_checks(model, tmp_path):
    model.save(tmp_path / "model.keras")
    arguments = [
        "export",
        str(tmp_path / "model.keras"),
        "--out",
        str(tmp_path),
        "--name",
        "net",
        "--format",
        "openvino",
    ]
    result = CliRunner().invoke(app, [*arguments, "--top-k", "2", "--check"], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    for word in ("model.xml; off Keras by", "top_indices int32(?, 2)", "serving_default"):
        assert word in result.output
    result = CliRunner().invoke(app, [*arguments, "--xla"])
    assert "--xla cannot be used with --format openvino, which takes pixels" in str(result.exception or result.output)


def test_litert_gives_keras_answers(model, tmp_path):
    path, deviation = export_file(model, tmp_path, "litert", "net", preprocessing=keras.layers.Rescaling(1 / 255))
    assert path == tmp_path / "net" / "1" / FILES["litert"]
    assert path.is_file()
    assert deviation <= TOLERANCE


def test_litert_computes_in_integers_with_representative_images(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 19, 16, 3)).astype("float32")
    front = keras.layers.Rescaling(1 / 255)
    path, deviation = export_file(model, tmp_path, "litert", "net", preprocessing=front, representative=images)
    assert 0 < deviation < 0.1
    interpreter = tf.lite.Interpreter(str(path))
    types = {details["dtype"].__name__ for details in interpreter.get_tensor_details()}
    assert types <= {"int8", "uint8", "int32", "int64"}


def test_what_fails_inside_an_exporter_is_told_as_its_failure(model, tmp_path, monkeypatch):
    def export(*_, **__):
        raise NameError("name 'Constant' is not defined\n  in the converter")

    monkeypatch.setattr(keras.Model, "export", export)
    sentence = (
        rf"^The exporter to litert failed \(tensorflow {tf.__version__}, Keras {keras.__version__}, "
        rf"Python {platform.python_version()}\): NameError: name 'Constant' is not defined in the converter$"
    )
    with pytest.raises(RuntimeError, match=sentence):
        export_file(model, tmp_path, "litert", "net")
    assert not list(tmp_path.rglob("*.tflite"))


def test_a_bad_format_and_images_without_use_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"format must be one of litert, onnx, openvino\. Received: format='coreml'"):
        export_file(model, tmp_path, "coreml")
    with pytest.raises(ValueError, match='Representative images are for format="litert"'):
        export_file(model, tmp_path, "onnx", representative=np.zeros((1, 19, 16, 3)))
    with pytest.raises(ValueError, match='precision is for format="openvino"'):
        export_file(model, tmp_path, "onnx", precision="bfloat16")
    with pytest.raises(ValueError, match="leave out labels, top_k, levels and size"):
        export_file(model, tmp_path, "litert", labels=["a"] * 5)
    assert not list(tmp_path.iterdir())
