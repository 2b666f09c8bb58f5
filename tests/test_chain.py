"""Data through every command, with tiny networks: many labels as somebody with X-rays has them, signals, volumes."""

import json

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from keras_densenet import data, training
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


SCANS = {"scans": (9, 8, 10), "signals": (40, 2)}


@pytest.mark.parametrize("kind", SCANS)
def test_a_folder_of_arrays_goes_through_every_command(kind, tmp_path):
    shape, random = SCANS[kind], np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / kind / ["dim", "light"][number % 2] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, random.normal(1000 + 400 * (number % 2), 100, shape))
    wanted = ["--dimensions", 1] if kind == "signals" else ["--image-size", "8x8x8", "--interpolation", "none"]
    out = tmp_path / "run"
    run("train", "--data", tmp_path / kind, *wanted, *TINY[:4], "--epochs", 8, "--warmup-epochs", 0, "--no-xla",
        "--batch-size", 14, "--augmentation", "imagenet", "--flips", 0, "--intensity", 0.1, "--out", out)  # fmt: skip
    state = json.loads((out / "run.json").read_text())
    assert state["images"]["shape"] == ([40, 2] if kind == "signals" else [8, 8, 8, 1])
    assert state["test"]["accuracy"] == 1.0
    assert "accuracy 100.00%" in run("evaluate", out, "--out", out / "test", "--resamples", 0)
    assert "temperature" in run("calibrate", out)
    files = [tmp_path / kind / f"{name}/{number}.npy" for number, name in ((4, "dim"), (5, "light"))]
    answers = [json.loads(line)["predictions"] for line in run("predict", out, *files, "--json").splitlines()]
    assert [answer[0]["label"] for answer in answers] == ["dim", "light"]
    run("explain", "cam", out, files[0], "--out", out / "cam")
    assert [*(out / "cam").iterdir()]
    served = out / "served"
    told = run("export", out, "--out", served, "--name", "arrays", "--check")
    assert "every warm-up request answered" in told
    model = tf.saved_model.load(served / "arrays/1")
    raw = data.read_images(files, training.load_model(out)[0].framing)
    found = model.signatures["serving_default"](image=tf.constant(raw))
    expected = [{row["label"]: row["probability"] for row in answer} for answer in answers]
    for row, wanted in zip(found["probabilities"].numpy(), expected, strict=True):
        np.testing.assert_allclose(row, [wanted[name] for name in ("dim", "light")], atol=1e-5)
