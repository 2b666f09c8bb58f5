"""From a search to a whole training: what best.json says, and what `train` makes of it."""

import dataclasses
import json
import re
import sys

import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import data, training
from keras_densenet.cli import app, run
from keras_densenet.data.splits import limited
from keras_densenet.search import Budget, DenseNetHyperModel, search
from tests.search.test_search import RECIPE, SPACE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """The best.json of a search on the digits of 8x8 pixels, with the search's own network."""
    folder, digits = tmp_path_factory.mktemp("plan"), data.load("digits", image_size=8)
    hypermodel = DenseNetHyperModel((8, 8, 1), 10, **SPACE, recipe=dataclasses.replace(RECIPE, epochs=1))
    budget = Budget(max_activation_bytes=10**6, batch_size=16)
    source = {"name": "digits", "image_size": 8}
    search(folder / "a", hypermodel, budget, limited(digits, 40), source, algorithm="random", trials=1)
    return folder / "a" / "best.json"


ONE_EPOCH = ["--epochs", "1", "--no-xla"]


def test_train_takes_network_recipe_data_and_size_from_the_file(best, tmp_path):
    arguments = ["train", "--model", str(best), "--out", str(tmp_path / "a"), *ONE_EPOCH, "--batch-size", "256"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert re.search(r"over the budget that .*best.json was found within: [\d,]+ activation bytes", result.output)
    kept, plan = (json.loads(path.read_text()) for path in (tmp_path / "a" / "run.json", best))
    assert kept["images"] == {"train": 1257, "validation": 180, "test": 360, "shape": [8, 8, 1]}
    assert kept["arguments"]["data"] == "digits"
    network = {name: plan["network"][name] for name in kept["arguments"]["network"]}
    assert kept["arguments"]["network"] == network
    recipe = kept["arguments"]["recipe"]
    assert {name: recipe[name] for name in plan["recipe"]} == {**plan["recipe"], "batch_size": 256}
    assert recipe["seed"] == 3
    model = training.load_model(tmp_path / "a")[0]
    assert kd.cost(model).trainable_parameters == plan["figures"]["parameters"]
    assert kd.cost(model).macs == plan["figures"]["macs"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--image-size 16", "--image-size cannot be other than in best.json, whose network was found on digits at 8x8"),
        ("--data fashion_mnist", "--data cannot be other than in best.json"),
        ("--data photos --image-size 9", "--data, --image-size cannot be other than in best.json"),
        ("--data-dir .", "--data-dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for 'digits'"),
        ("--theta 0.4 --no-bottleneck", "--theta, --bottleneck cannot be used with --model, which says it all"),
    ],
)
def test_what_contradicts_the_file_is_refused(best, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(best.parent)
    (tmp_path / "photos").mkdir()
    command = ["keras-densenet", "train", "--model", "best.json", "--out", str(tmp_path / "a"), *arguments.split()]
    assert sentence in _mistake(command, monkeypatch, capsys)
    assert not (tmp_path / "a").exists()


def test_images_that_became_others_are_refused(best, tmp_path, monkeypatch, capsys):
    plan = json.loads(best.read_text())
    plan["network"]["classes"] = 11
    (tmp_path / "best.json").write_text(json.dumps(plan))
    command = ["keras-densenet", "train", "--model", str(tmp_path / "best.json"), "--out", str(tmp_path / "a")]
    error = _mistake(command, monkeypatch, capsys)
    assert "found on images of 8x8x1 in 11 classes. Received: images of 8x8x1 in 10 classes" in error


def test_a_folder_that_moved_can_be_named_anew_and_a_file_without_data_takes_any(best, tmp_path):
    plan = json.loads(best.read_text())
    (tmp_path / "moved").mkdir()
    plan["data"] = {"name": str(tmp_path / "gone")}
    (tmp_path / "best.json").write_text(json.dumps(plan))
    arguments = ["train", "--model", str(tmp_path / "best.json"), *ONE_EPOCH]
    result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path / "moved"), "--out", str(tmp_path / "a")])
    assert "has no subfolders" in str(result.exception)
    del plan["data"], plan["budget"]
    (tmp_path / "best.json").write_text(json.dumps(plan))
    result = CliRunner().invoke(app, [*arguments, "--image-size", "9", "--out", str(tmp_path / "b")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "b" / "run.json").read_text())["images"]["shape"] == [9, 9, 1]


def _mistake(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in error
    return error
