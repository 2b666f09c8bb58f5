"""`keras-densenet convert` and `weights`."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.family import variant
from keras_densenet.weights.catalogue import CHECKPOINTS, member
from tests import tiny
from tests.oracle import randomise
from tests.weights import foreign

NAME = "densenet-bc-40-12"


@pytest.mark.slow
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


def tell(*arguments):
    result = CliRunner().invoke(app, ["weights", *map(str, arguments)], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.exception
    return result.output


def loaded(told):
    """The network that the printed Python makes."""
    names = {"kd": kd}
    exec(re.search(r"to load it: (.*(?:\n +kd\..*)?)", told)[1].replace("\n            ", "\n"), names)
    return names["model"]


@pytest.fixture(params=["run", ".keras", ".weights.h5", ".h5", ".safetensors"])
def file_and_model(request, tmp_path):
    """A file or folder of every kind, and the network in it, for images of two channels."""
    model = randomise(tiny.network("BC", input_shape=(9, 8, 2), classes=7))
    if request.param in ("run", ".keras"):
        path = tmp_path / "run" / "model.keras"
        path.parent.mkdir()
        model.save(path)
        return (path.parent if request.param == "run" else path), model
    layouts = {".weights.h5": "keras_densenet", ".h5": "keras", ".safetensors": "torchvision"}
    path = tmp_path / f"a{request.param}"
    kd.save_weights(model, path, layouts[request.param])
    return path, model


def test_a_file_is_told_and_the_line_that_loads_it_does(file_and_model):
    path, model = file_and_model
    told = tell(path)
    for line in (
        "classifier: '(classifier|predictions)', 7 classes",
        "channels: 2",
        "network: none of the family, .*2-1",
    ):
        assert re.search(line, told), told
    assert "missing" not in told
    assert "left over" not in told
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    np.testing.assert_allclose(loaded(told)(images), model(images), rtol=1e-4, atol=1e-6)


def test_convert_reads_the_network_off_the_file(file_and_model, tmp_path):
    path, model = file_and_model
    command = ["convert", path, "--out", tmp_path / "b.safetensors", "--layout", "torchvision"]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.exception
    assert "torchvision, with 7 classes" in result.output
    again = tiny.network("BC", input_shape=(9, 8, 2), classes=7, weights=tmp_path / "b.safetensors")
    images = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype("float32")
    np.testing.assert_allclose(again(images), model(images), rtol=1e-4, atol=1e-6)


def test_a_member_of_the_family_and_a_wrapper_are_told_by_name(tmp_path):
    model = kd.create_model(NAME, classes=3)
    kd.save_weights(model, tmp_path / "a.safetensors", "torchvision")
    stored = {f"state_dict.module.{name}": values for name, values in load_file(tmp_path / "a.safetensors").items()}
    save_file(stored, tmp_path / "a.safetensors")
    told = tell(tmp_path / "a.safetensors")
    assert f"network: {NAME}, blocks 6-6-6, k=12, theta=0.5, cifar stem\n" in told
    assert (loaded(told).architecture.classes, loaded(told).name) == (3, "densenet_bc_40_12")
    assert "layout: torchvision, its names behind 'state_dict.module.'\n" in told


def test_a_pool_has_no_weights_and_so_a_name_is_found_without_it():
    told = tell(foreign.FIXTURES / "tiny_timm_blur_d.safetensors")
    assert "pool: taken for max: weights do not tell whether it is max or blur\n" in told
    plan = kd.Architecture.plan(**variant("densenetblur121d"))
    assert member(dataclasses.replace(plan, stem_pool="max")) == "densenetblur121d"
    assert member(dataclasses.replace(plan, stem="imagenet")) == "densenet121"


def test_of_two_networks_both_are_told(tmp_path):
    stored = load_file(foreign.FIXTURES / "tiny_torchvision.safetensors")
    both = {f"{scope}.{name}": np.asarray(values) for scope in ("model", "ema") for name, values in stored.items()}
    save_file(both, tmp_path / "a.safetensors")
    told = tell(tmp_path / "a.safetensors")
    assert re.findall(r"^'(\w+)'$", told, re.M) in (["model", "ema"], ["ema", "model"])
    images, logits = foreign.fixture("tiny_torchvision")
    np.testing.assert_allclose(loaded(told)(images), keras.ops.softmax(logits), atol=1e-5)


def test_a_head_of_several_layers_is_told_and_the_network_is_loaded_without(tmp_path):
    stored = load_file(foreign.FIXTURES / "tiny_torchvision.safetensors")
    stored = {name.replace("classifier", "classifier.0"): values for name, values in stored.items()}
    save_file({**stored, "classifier.3.weight": np.ones((2, 5), "float32")}, tmp_path / "a.safetensors")
    told = tell(tmp_path / "a.safetensors")
    assert "left over: classifier.3.weight\n" in told
    assert loaded(told).architecture.classes is None
    command = ["convert", str(tmp_path / "a.safetensors"), "--out", str(tmp_path / "b.weights.h5")]
    assert "classifier.3.weight behind the network: --no-top" in str(CliRunner().invoke(app, command).exception)
    result = CliRunner().invoke(app, [*command, "--no-top"])
    assert "without classifier" in result.output


def test_a_published_name_is_told_whole():
    told = tell("torchxrayvision:rsna")
    for line in ("licence: Apache-2.0", "classes: 18", "channels: 1", "note: The authors publish no hash"):
        assert f"\n{line}" in told
