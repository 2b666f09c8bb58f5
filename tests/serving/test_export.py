import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from keras_densenet import serving


@pytest.fixture(scope="module")
def model():
    return kd.DenseNet(depth=10, growth_rate=4, classes=3, input_shape=(None, None, 1))


def test_a_fresh_process_with_tensorflow_alone_gives_the_same_answers(model, tmp_path):
    folder = serving.export_saved_model(model, tmp_path, "net")
    assert folder == tmp_path / "net" / "1"
    images = np.random.default_rng(0).normal(size=(5, 12, 16, 1)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    script = pathlib.Path(serving.__file__).with_name("run_saved_model.py")
    command = [sys.executable, "-I", script, folder, tmp_path / "images.npy", tmp_path / "out.npy"]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.predict_on_batch(images), rtol=1e-5, atol=1e-6)


def test_what_is_served_is_the_inference_form_unless_told_otherwise(model, tmp_path):
    kinds = []
    for folded in (True, False):
        folder = serving.export_saved_model(model, tmp_path, "net", folded=folded)
        serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
        definitions = serve.graph.as_graph_def().library.function
        nodes = [node.op for part in (serve.graph.as_graph_def(), *definitions) for node in _nodes(part)]
        kinds.append(nodes.count("Rsqrt"))
    layers = sum(model.architecture.blocks)
    assert kinds == [0, 2 * layers + 2 + 1]  # two in each layer, one in each transition and in the head


def _nodes(part):
    return part.node if hasattr(part, "node") else part.node_def


def test_versions_count_up_and_none_is_overwritten(model, tmp_path):
    for expected in ("1", "2"):
        assert serving.export_saved_model(model, tmp_path, "net").name == expected
    with pytest.raises(FileExistsError, match="is there already"):
        serving.export_saved_model(model, tmp_path, "net", 2)
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["1", "2"]


@pytest.mark.parametrize("version", [0, -1, 1.5, "one"])
def test_a_bad_version_is_refused(model, tmp_path, version):
    with pytest.raises(ValueError, match=r"version must be a whole number >= 1. Received: version="):
        serving.export_saved_model(model, tmp_path, "net", version)
    assert not list(tmp_path.iterdir())
