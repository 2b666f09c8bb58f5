"""`keras-densenet train`: what it refuses, and what it says of a run that goes on or has ended."""

import re
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from keras_densenet import training
from keras_densenet.cli import app, run
from tests.data.pictures import write_classes

TINY = ["--depth", "10", "--growth-rate", "2", "--image-size", "8", "--batch-size", "256", "--no-xla"]


def _train(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--model densenet121 --depth 22 --growth-rate 99", "--depth, --growth-rate cannot be used with --model"),
        ("--model densenet121 --blocks 1,2", "--blocks cannot be used with --model, which says it all"),
        ("--model densenet121 --theta 0.5", "--theta cannot be used with --model"),
        ("--model densenet121 --bottleneck --stem imagenet", "--bottleneck, --stem cannot be used with --model"),
        ("--depth 22 --blocks 1,2", "--depth cannot be used with --blocks"),
        ("--data-dir .", "--data-dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for 'digits'"),
        ("--data . --data-dir .", "--data-dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for '.'"),
        ("--sync-statistics", "--sync-statistics needs --strategy mirrored or multi_worker"),
        ("--drops 0.5", '--drops must come with --schedule "steps"'),
        ("--recipe cifar --warmup-epochs 2", '--warmup-epochs needs --schedule "cosine"'),
        ("--gamma 3", '--gamma must come with --loss "focal"'),
        ("--monitor val_auc", "--monitor must be one of val_accuracy, val_loss, val_top5, val_auroc"),
        ("--class-weights nowhere.csv", "--class-weights must be none, balanced, a dict of label to weight, or a CSV"),
        ("--epochs 2 --warmup-epochs 2", "--warmup-epochs must be less than --epochs 2"),
    ],
)
def test_an_option_that_would_have_no_effect_is_refused(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["keras-densenet", "train", "--out", "x", *arguments.split()])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_of_the_recipe_goes_what_another_schedule_does_not_have(tmp_path):
    result = _train("--out", tmp_path, *TINY, "--epochs", 1, "--schedule", "steps")
    assert result.exit_code == 0, result.output
    recipe = training.load_record(tmp_path)["arguments"]["recipe"]
    assert (recipe["schedule"], recipe["drops"], recipe["warmup_epochs"]) == ("steps", [0.5, 0.75], 0)


@pytest.mark.slow
def test_a_run_says_whether_it_goes_on_or_has_ended(tmp_path):
    arguments = ["--out", tmp_path, *TINY]
    assert "goes on" not in _train(*arguments, "--epochs", 1).output
    again = _train(*arguments, "--epochs", 1).output
    assert "the run has ended before, nothing is left to train (--epochs gives it more): test accuracy" in again
    assert "s of training" not in again
    longer = _train(*arguments, "--epochs", 2).output
    assert "the run goes on with epoch 2 of 2" in longer
    assert "s of training" in longer
    other = _train(*arguments, "--epochs", 2, "--image-size", 10)
    assert "(images.shape [8, 8, 1], now [10, 10, 1]): give another --out" in str(other.exception)


@pytest.mark.slow
def test_a_batch_size_that_nobody_gave_fits_the_images_and_one_that_was_given_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = write_classes(tmp_path / "photos", {"ant": 20, "bee": 20}, height=12, width=12)
    arguments = ["--data", photos, "--depth", 10, "--growth-rate", 2, "--no-xla", "--epochs", 1]
    result = _train("--out", tmp_path / "a", *arguments, "--accumulate", 4)
    assert result.exit_code == 0, result.output
    images = training.load_record(tmp_path / "a")["images"]["train"]
    assert images == 28
    assert "batch size 28 instead of 64, for 28 training images on 1 device" in result.output
    assert training.load_record(tmp_path / "a")["arguments"]["recipe"]["batch_size"] == 28
    given = _train("--out", tmp_path / "b", *arguments, "--batch-size", 64)
    assert "at most the 28 training images. Received: batch_size=64" in str(given.exception)


@pytest.mark.slow
def test_ctrl_c_says_in_a_line_what_is_saved_and_how_to_go_on(tmp_path):
    """The run would take hours; the signal comes once an epoch is saved."""
    words = ["train", "--out", tmp_path / "a b", *TINY, "--epochs", "100000"]
    start = [sys.executable, "-c", "import keras_densenet_launch; keras_densenet_launch.main()", *map(str, words)]
    process = subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 200
        while not (tmp_path / "a b" / "history.csv").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == ""
    last = output.splitlines()[-1]
    kept = rf"interrupted; {tmp_path}/a b keeps \d+ epochs?( and \d+ steps? of the next)?"
    assert re.fullmatch(rf"{kept}, and the same command goes on from there", last)
    result = _train(*words[1:-1], 100001)
    assert "other arguments (recipe.epochs 100000, now 100001)" in str(result.exception)
