"""`keras-densenet convert` and `weights`."""

import numpy as np
import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.weights.catalogue import CHECKPOINTS
from tests.oracle import randomise

NAME = "densenet-bc-40-12"


def test_weights_go_to_torchvision_and_back(tmp_path):
    model = randomise(kd.create_model(NAME))
    model.save_weights(tmp_path / "a.weights.h5")
    for source, out, layout in (
        ("a.weights.h5", "b.safetensors", "torchvision"),
        ("b.safetensors", "c.h5", "keras"),
        ("b.safetensors", "d.weights.h5", "keras_densenet"),
    ):
        arguments = ["convert", tmp_path / source, "--model", NAME, "--out", tmp_path / out, "--layout", layout]
        result = CliRunner().invoke(app, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        assert (tmp_path / out).is_file()
    again = kd.create_model(NAME, weights=tmp_path / "d.weights.h5")
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("out", "layout", "sentence"),
    [
        ("a.safetensors", "keras", "path must end in .weights.h5 or .h5"),
        ("a.h5", "caffe", "layout must be one of"),
        ("a.weights.h5", "keras_densenet", "There is no weights file 'nowhere.h5'"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_left(tmp_path, monkeypatch, out, layout, sentence):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["convert", "nowhere.h5", "--model", NAME, "--out", out, "--layout", layout])
    assert sentence in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_weights_lists_the_whole_catalogue():
    output = CliRunner().invoke(app, ["weights"], env={"COLUMNS": "80"}).output
    assert [line.split()[0] for line in output.splitlines()[1:]] == list(CHECKPOINTS)
    for row in CHECKPOINTS.values():
        assert row.url in output
