"""A table of many labels through every command, as somebody with X-rays would go: real files, one tiny network."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from keras_densenet.cli import app
from tests import many

TINY = ["--blocks", "1", "--growth-rate", "4", "--epochs", "1", "--warmup-epochs", "0", "--no-xla"]

pytestmark = pytest.mark.slow


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    return many.write_table(folder, *many.pictures(240, seed=1))


@pytest.fixture(scope="module")
def trained(table):
    run("train", "--data", table, *TINY, "--batch-size", 24, "--class-weights", "balanced", "--dropout-rate", 0.1,
        "--out", table.parent / "run")  # fmt: skip
    return table.parent / "run"


def test_the_run_says_how_images_were_divided_and_what_was_learned(trained):
    state = json.loads((trained / "run.json").read_text())
    assert state["images"]["held_out"]["by"] == "group"
    assert state["images"]["held_out"]["groups"] == 24
    assert state["labels"] == many.NAMES
    assert {"loss", "auroc", "average_precision"} <= state["test"].keys()
    assert "val_auroc" in (trained / "history.csv").read_text()


def test_it_is_evaluated_on_what_it_has_not_seen_and_calibrated(trained):
    told = run("evaluate", trained, "--out", trained / "test", "--resamples", 50)
    assert "AUROC" in told
    figures = json.loads((trained / "test/evaluation.json").read_text())
    state = json.loads((trained / "run.json").read_text())
    assert abs(figures["auroc"] - state["test"]["auroc"]) < 1e-4
    assert figures["auroc_interval"][0] <= figures["auroc"] <= figures["auroc_interval"][1]
    assert "temperature" in run("calibrate", trained, "--thresholds", "sensitivity=0.9")


def test_predictions_maps_and_an_export_follow(trained, table):
    run("calibrate", trained)
    pictures = [table.parent / f"pictures/{number}.png" for number in range(3)]
    lines = [json.loads(line) for line in run("predict", trained, *pictures, "--json").splitlines()]
    assert [line["image"] for line in lines] == list(map(str, pictures))
    labels = lines[0]["predictions"]
    assert {row["label"] for row in labels} == set(many.NAMES)
    assert all(row["positive"] == (row["probability"] >= row["threshold"]) for row in labels if row["threshold"])
    run("explain", "cam", trained, pictures[0], "--label", "seven", "--out", trained / "cam")
    assert [*(trained / "cam").iterdir()]
    told = run("export", trained, "--out", trained / "served", "--name", "digits", "--check")
    assert "every warm-up request answered" in told
    (card,) = (trained / "served").rglob("model_card.json")
    found = json.loads(card.read_text())
    assert found["activation"] == "sigmoid"
    assert np.shape(found["decisions"]["thresholds"]) == (10,)


def test_a_search_goes_by_the_area_under_roc_within_its_budget(table):
    folder = table.parent / "search"
    run("search", "run", "--data", table, "--objective", "val_auroc", "--max-parameters", "200k", "--trials", 1,
        *TINY[:4], "--epochs", 1, "--warmup-epochs", 0, "--no-xla", "--batch-size", 24, "--algorithm", "random",
        "--out", folder)  # fmt: skip
    best = json.loads((folder / "best.json").read_text())
    assert best["figures"]["parameters"] <= 200_000
    assert 0 <= best["figures"]["val_auroc"] <= 1
    assert best["data"]["name"] == str(table)
