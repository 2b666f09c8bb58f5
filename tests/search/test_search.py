"""Whole searches on tiny networks: trained, reported, gone on with, refused."""

import csv
import dataclasses
import gc
import json
import shlex
import sys

import psutil
import pytest
import rich.console
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import training
from keras_densenet.cli import app, run
from keras_densenet.family import VARIANTS
from keras_densenet.search import Budget, DenseNetHyperModel, report, search, tuner
from keras_densenet.search.results import Results
from keras_densenet.search.run import _searching_for
from tests.training.processes import striped_labels, stripes

RECIPE = training.Recipe(epochs=2, batch_size=16, augmentation="none", xla=False, seed=3)
SPACE = {"blocks": "1 1:2", "growth_rate": "3:8:1", "theta": "0.5,1.0", "bottleneck": False, "stem_channels": 4}
SPACE |= {"dropout_rate": 0.0, "learning_rate": "0.01:0.1", "weight_decay": 1e-4}
BUDGET = Budget(max_parameters=3000, batch_size=16)
DATA = {"name": "stripes"}


def _search(folder, recipe=RECIPE, **options):
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **SPACE, recipe=recipe)
    return search(folder, hypermodel, BUDGET, stripes(), DATA, **{"algorithm": "random", "trials": 3, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder, console = tmp_path_factory.mktemp("search") / "a", rich.console.Console(record=True, width=200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "densenet-bc-40-12", {**VARIANTS["densenet-bc-40-12"], "depth": 10})  # of 18 layers, 3
        results = _search(folder, executions=2, trials=2, compare=["densenet-bc-40-12"], confirm=1, console=console)
    return folder, results, console.export_text()


@pytest.mark.slow
def test_each_trial_is_measured_and_its_cost_is_that_of_the_network(finished):
    folder, results, _ = finished
    assert len(results.rows) == 2
    for row in results.rows:
        network, recipe = results.point(row)
        model = kd.DenseNet(**network)
        assert row["parameters"] == sum(weight.numpy().size for weight in model.trainable_weights)
        assert row["macs"] == kd.cost(model).macs
        assert row["parameters"] <= 3000
        assert row["status"] == "completed"
        assert row["epochs"] == 2
        assert row["ms_per_step"] > 0
        assert row["peak_bytes"] > 4 * row["parameters"]
        assert 0 <= row["accuracy_spread"] <= 1
        assert row["best_val_accuracy"] >= row["val_accuracy"]
        runs = [training.load_record(folder / f"trial_{row['trial']}" / f"run{seed}") for seed in (0, 1)]
        assert row["test_accuracy"] == pytest.approx(sum(run["test"]["accuracy"] for run in runs) / 2)
        assert [run["arguments"]["recipe"]["seed"] for run in runs] == [3, 4]
        assert runs[0]["arguments"]["recipe"]["learning_rate"] == recipe.learning_rate == row["learning_rate"]


@pytest.mark.slow
def test_memory_that_others_left_does_not_hide_what_a_training_needs(tmp_path, monkeypatch):
    def train(*arguments, train=tuner._train, **options):
        gc.collect()
        return train(*arguments, **options)

    monkeypatch.setattr(tuner, "_train", train)
    left = [tf.zeros(2**24)]
    left.append(left)
    del left
    gc.disable()
    try:
        results = _search(tmp_path / "a", trials=1)
    finally:
        gc.enable()
    assert 0 < results.rows[0]["peak_bytes"] < 4 * 2**24


@pytest.mark.slow
def test_the_folder_has_a_table_a_picture_and_the_best(finished):
    folder, results, _ = finished
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows[:2]] == ["0", "1"]
    assert [row["status"] for row in rows] == ["completed"] * 2 + ["compared"] * 2
    with Image.open(folder / "pareto.png") as picture:
        assert picture.size[0] > 1000
    best = json.loads((folder / "best.json").read_text())
    assert best["trial"] == report.ranked(results.rows)[0]["trial"]
    assert eval(best["call"], {"kd": kd}).architecture == kd.Architecture.plan(**results.point(results.best())[0])


@pytest.mark.slow
def test_the_compared_networks_have_new_seeds_and_keep_the_budget(finished):
    folder, results, _ = finished
    assert [row["trial"].split(",")[0] for row in results.references] == ["best", "densenet-bc-40-12"]
    for row in results.references:
        assert row["parameters"] <= 3000
        seeds = [
            training.load_record(path)["arguments"]["recipe"]["seed"]
            for path in sorted((folder / "compared" / row["trial"].rsplit(", k=")[0]).glob("run*"))
        ]
        assert seeds == [5]
    assert results.references[1]["blocks"] == "1-1-1"


@pytest.mark.slow
def test_progress_tells_trial_point_cost_result_and_time_left(finished):
    *_, text = finished
    assert "networks in the space" in text
    for part in ("trial 1 (2 of 2): blocks 1-", "parameters, 0.", "trial 1: val_accuracy ", "; best ", "s left"):
        assert part in text


@pytest.mark.slow
def test_a_finished_search_is_not_trained_again_and_goes_on_with_more_trials(finished):
    folder, results, _ = finished
    for file in (folder / "search.json", *folder.glob("trial_*/run*/run.json")):  # as an older version wrote them
        state = json.loads(file.read_text())
        recipe = state["settings"]["recipe"] if "settings" in state else state["arguments"]["recipe"]
        for name in ("loss", "gamma", "class_weights", "sampling", "monitor", "patience"):
            del recipe[name]
        file.write_text(json.dumps(state))
    before = (folder / "trial_0" / "run0" / "run.json").stat().st_mtime_ns
    again = _search(folder, executions=2, trials=3)
    assert (folder / "trial_0" / "run0" / "run.json").stat().st_mtime_ns == before
    assert again.rows[:2] == results.rows
    assert len(again.rows) == 3


@pytest.mark.slow
def test_search_best_and_report_say_how_the_best_is_trained(finished):
    folder, *_ = finished
    for command in ("best", "report"):
        result = CliRunner().invoke(app, ["search", command, str(folder)], env={"COLUMNS": "60"})
        assert result.exit_code == 0, result.output
        call, shell = result.output.splitlines()[-2:]
        assert call.startswith("kd.DenseNet(blocks=(1, ")
        assert shlex.split(shell) == shlex.split(f"keras-densenet train --model {folder}/best.json --out runs/best")


@pytest.mark.slow
def test_a_point_on_the_pareto_picture_carries_its_trials_number(finished, tmp_path):
    _, results, _ = finished
    rows = [{**row, "trial": f"number {row['trial']}"} for row in results.rows]
    report.draw(tmp_path / "a.svg", rows)
    text = (tmp_path / "a.svg").read_text()
    assert text.count("<!-- number 0 -->") == text.count("<!-- number 1 -->") == 3


@pytest.mark.slow
def test_hyperband_goes_on_where_a_round_stopped(tmp_path):
    recipe = dataclasses.replace(RECIPE, epochs=3)
    results = _search(tmp_path / "a", recipe, algorithm="hyperband", trials=None)
    continued = [row for row in results.rows if row["status"] == "continued"]
    assert continued
    assert {row["epochs"] for row in continued} == {1}
    assert {row["epochs"] for row in results.rows if row["status"] == "completed"} >= {3}
    last = next(t for t in results.trials.values() if "tuner/trial_id" in t.hyperparameters.values)
    first = last.hyperparameters.values["tuner/trial_id"]
    assert not (tmp_path / "a" / f"trial_{last.trial_id}" / "run0").exists()
    record = training.load_record(tmp_path / "a" / f"trial_{first}" / "run0")
    with open(tmp_path / "a" / f"trial_{first}" / "run0" / "history.csv", newline="") as file:
        history = list(csv.DictReader(file))
    whole = training.train(
        {k: v for k, v in record["arguments"]["network"].items() if k != "dropout_rate"},
        "stripes",
        stripes(),
        results.point({"trial": first})[1],
        tmp_path / "whole",
    )
    with open(tmp_path / "whole" / "history.csv", newline="") as file:
        unbroken = list(csv.DictReader(file))
    assert len(history) == 3
    for a, b in zip(history, unbroken, strict=True):
        assert float(a["val_loss"]) == pytest.approx(float(b["val_loss"]), rel=1e-3)
    assert record["test"]["loss"] == pytest.approx(whole["test"]["loss"], rel=1e-3)


@pytest.mark.slow
def test_other_settings_or_files_are_refused_and_overwritten_on_demand(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'precious.txt' and no search"):
        _search(tmp_path / "a", overwrite=True)
    assert (tmp_path / "a" / "precious.txt").read_text() == "mine"
    (tmp_path / "a" / "precious.txt").unlink()
    _search(tmp_path / "a", trials=1)
    before = (tmp_path / "a" / "oracle.json").read_text()
    with pytest.raises(ValueError, match=r"other settings \(seed 1, now 2\): give another folder or overwrite"):
        _search(tmp_path / "a", trials=1, seed=2)
    assert (tmp_path / "a" / "oracle.json").read_text() == before
    (tmp_path / "a" / "oracle.json").write_text(before[:100])
    with pytest.raises(ValueError, match=r"oracle.json' is not a search's state as it was written"):
        _search(tmp_path / "a", trials=1)
    results = _search(tmp_path / "a", trials=1, seed=2, overwrite=True)
    assert len(results.rows) == 1


@pytest.mark.slow
def test_of_many_labels_the_area_under_roc_is_searched_for_or_what_is_asked_for(tmp_path):
    options = {"algorithm": "random", "trials": 2}
    recipe = dataclasses.replace(RECIPE, class_weights="balanced")
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **SPACE, recipe=recipe)
    results = search(tmp_path / "a", hypermodel, BUDGET, striped_labels(stripes()), DATA, **options)
    assert results.settings["objective"] == results.objective == "val_auroc"
    for row in results.rows:
        record = training.load_record(tmp_path / "a" / f"trial_{row['trial']}" / "run0")
        assert row["test_auroc"] == pytest.approx(record["test"]["auroc"])
        assert row["best_val_auroc"] >= row["val_auroc"]
        assert "val_accuracy" not in row
    assert results.best()["val_auroc"] == max(row["val_auroc"] for row in results.rows)
    best = json.loads((tmp_path / "a" / "best.json").read_text())
    assert best["recipe"]["class_weights"] == "balanced"
    assert best["figures"]["val_auroc"] == results.best()["val_auroc"]
    console = rich.console.Console(record=True, width=200)
    results.show(console)
    assert "Pareto front of auroc and parameters" in console.export_text()
    with pytest.raises(ValueError, match=r"monitor must be one of val_auroc, .* for many labels.*'val_top5'"):
        search(tmp_path / "b", hypermodel, BUDGET, striped_labels(stripes()), DATA, objective="val_top5", **options)


@pytest.mark.slow
def test_a_search_in_which_no_trial_completes_says_why(tmp_path):
    recipe = dataclasses.replace(RECIPE, batch_size=65)
    with pytest.raises(RuntimeError, match=r"No trial completed, .* at most the 64 training images. Received: batch"):
        _search(tmp_path / "a", recipe, trials=2)
    with pytest.raises(ValueError, match=r"No trial of the search in .* has completed"):
        Results(tmp_path / "a").best()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["search", "best", "nowhere"], "'nowhere' is not a search's folder: it has no search.json"),
        (["search", "report", "nowhere"], "'nowhere' is not a search's folder"),
        (["train", "--model", "best.json", "--out", "x"], "'best.json' is no network with its recipe"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.json").write_text('{"network": 1}')
    monkeypatch.setattr(sys, "argv", ["keras-densenet", *arguments])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_memory_does_not_grow_from_trial_to_trial(tmp_path):
    """A trial kept some 20 MB before its gradients were given back."""
    recipe, resident = dataclasses.replace(RECIPE, epochs=1), []

    class Kept(rich.console.Console):
        def print(self, *line, **options):
            if "val_accuracy" in str(line[0]):
                resident.append(psutil.Process().memory_info().rss / 1e6)

    _search(tmp_path / "a", recipe, trials=7, console=Kept(quiet=True))
    assert len(resident) == 7
    assert (resident[-1] - resident[2]) / 4 < 8, resident


def test_a_pareto_front_has_what_nothing_beats():
    rows = [
        {"trial": name, "status": "completed", "parameters": p, "val_accuracy": a, "val_loss": 1 - a}
        for name, p, a in (("a", 10, 0.5), ("b", 20, 0.4), ("c", 30, 0.9), ("d", 30, 0.8), ("e", 40, 0.9))
    ]
    assert [row["trial"] for row in report.front(rows, "parameters")] == ["a", "c"]
    assert report.ranked(rows)[0]["trial"] == "c"
    assert [row["trial"] for row in report.front(rows, "parameters", "val_loss")] == ["a", "c"]


def test_the_recipe_of_the_trials_monitors_what_is_searched_for():
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **SPACE, recipe=RECIPE)
    same, objective = _searching_for(None, hypermodel, stripes())
    assert (same, objective) == (hypermodel, "val_accuracy")
    other, objective = _searching_for("val_loss", hypermodel, stripes())
    assert (other.recipe.monitor, objective, other.space()) == ("val_loss", "val_loss", hypermodel.space())
