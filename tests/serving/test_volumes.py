"""Served volumes and signals: the command reads their files as `predict` does, and the server answers as Keras."""

import json

import keras
import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.data import Framing, read_images
from keras_densenet.serving import connect
from tests import tiny
from tests.serving.server import Server

pytestmark = pytest.mark.slow

PROTOCOLS = ["rest_url", "grpc_url"]
VOLUMES, SIGNALS = (6, 7, 8, 1), (None, 2)


def _served(base, shape):
    keras.utils.set_random_seed(0)
    model = tiny.network(input_shape=shape, classes=3)
    kd.export_saved_model(model, base, "net", labels=["ant", "bee", "cow"], size=(16,) if shape is SIGNALS else None)
    return model


@pytest.fixture(scope="module", params=[VOLUMES, SIGNALS], ids=["volumes", "signals"])
def served(request, tmp_path_factory):
    """The network's input shape, itself, and a server."""
    base = tmp_path_factory.mktemp("served")
    model = _served(base, request.param)
    with Server(base, "net") as server:
        yield request.param, model, server


def _write(folder, shape):
    """Files of arrays in all formats that hold as many axes, one with an axis too few, and one that is damaged."""
    random, arrays = np.random.default_rng(0), {}
    for name, dtype in (("a.npy", "float32"), ("b.npz", "float16"), ("c.nii.gz", "float32")):
        arrays[name] = random.normal(size=[size or 20 for size in shape]).astype(dtype)
    np.save(folder / "a.npy", arrays["a.npy"])
    np.savez(folder / "b.npz", arrays["b.npz"])
    if len(shape) == 4:
        nibabel.save(nibabel.Nifti1Image(arrays["c.nii.gz"][..., 0], np.eye(4)), folder / "c.nii.gz")
    else:
        np.save(folder / "d.npy", arrays.pop("c.nii.gz")[:13])  # of any length
    np.save(folder / "x.npy", np.zeros(()))
    (folder / "y.nii").write_bytes(b"no scan")


def _ask(url, *arguments):
    result = CliRunner().invoke(app, ["request", url, *map(str, arguments), "--json"])
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()], result


def _told(model, array):
    probabilities = model.predict_on_batch(array)[0]
    order = np.argsort(-probabilities)
    return [["ant", "bee", "cow"][index] for index in order], probabilities[order]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_get_the_answers_of_keras_and_bad_ones_their_own_error(served, protocol, tmp_path):
    shape, model, server = served
    _write(tmp_path, shape)
    code, (*rows, scalar, damaged), _ = _ask(getattr(server, protocol), tmp_path, "--batch-size", 2)
    assert code == 1
    assert len(rows) == 3
    for row in rows:
        labels, probabilities = _told(model, read_images([row["image"]], model.framing))
        assert [entry["label"] for entry in row["predictions"]] == labels
        np.testing.assert_allclose([entry["probability"] for entry in row["predictions"]], probabilities, atol=1e-5)
    assert "cannot be decoded as a" in scalar["error"]
    assert "cannot be decoded as a" in damaged["error"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_client_knows_what_a_model_takes(served, protocol):
    shape, _, server = served
    found = connect(getattr(server, protocol)).inputs()
    assert found == {name: {"image": (None, *shape)} for name in ("features", "serving_default", "serving_uint8")}


@pytest.mark.parametrize("served", [VOLUMES], indirect=True)
def test_another_size_is_refused_until_it_is_said_how_it_becomes_the_models(served, tmp_path):
    _, model, server = served
    np.save(path := tmp_path / "large.npy", np.random.default_rng(0).normal(size=(9, 8, 7)))
    code, [row], _ = _ask(server.rest_url, path)
    assert code == 1
    assert row["error"] == "It is 9x8x7, the model takes 6x7x8: give --interpolation, as in training"
    for interpolation in ("none", "bilinear"):
        code, [row], _ = _ask(server.rest_url, path, "--interpolation", interpolation)
        assert code == 0
        _, probabilities = _told(model, read_images([path], Framing(VOLUMES[:3], 1, interpolation=interpolation)))
        np.testing.assert_allclose([entry["probability"] for entry in row["predictions"]], probabilities, atol=1e-5)
    code, _, result = _ask(server.rest_url, path, "--interpolation", "cubic")
    assert code == 1
    assert isinstance(result.exception, ValueError)


def test_image_files_get_their_size_from_the_server(exported):
    with Server(exported.base, "net") as server:
        code, _, result = _ask(server.grpc_url, "a.png", "--interpolation", "bilinear")
    assert code == 1
    assert str(result.exception).startswith("--interpolation is for volumes and signals")
