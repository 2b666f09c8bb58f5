"""Runs that are killed, told to stop, or called twice, in processes of their own."""

import csv
import json
import random
import signal
import time
import zipfile

import keras
import numpy as np
import pytest

from keras_densenet.training import Recipe
from keras_densenet.training.folder import RunFolder
from tests.training import processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kills(pytestconfig):
    return pytestconfig.getoption("kills")


@pytest.fixture(scope="module")
def recipe(kills):
    """Has everything that has a state: dropout, an average of the weights, parts of updates."""
    varied = {"augmentation": "none", "accumulate": 2, "ema": 0.9, "label_smoothing": 0.1}
    return Recipe(epochs=4 * kills + 1, batch_size=16, xla=False, seed=5, **varied)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, recipe):
    folder = tmp_path_factory.mktemp("unbroken")
    process = processes.CONTEXT.Process(target=processes.run, args=(folder, recipe))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return folder


def _wait_for(path, process, size=0, seconds=60):
    """Waits until a file is there and has so many bytes."""
    deadline = time.monotonic() + seconds
    while not path.exists() or path.stat().st_size < size:
        assert process.is_alive(), f"the run ended with {process.exitcode}"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _assert_same_end(folder, other):
    for name in ("model.keras", "best.keras"):
        ours, theirs = (keras.models.load_model(path / name, compile=False).weights for path in (folder, other))
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)
    rows = [list(csv.reader((path / "history.csv").read_text().splitlines())) for path in (folder, other)]
    assert len(rows[0]) == len(rows[1]) > 4
    for a, b in zip(*(np.array(table[1:], float)[:, :-1] for table in rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_run_killed_at_random_moments_ends_like_an_unbroken_one(unbroken, start, tmp_path, recipe, kills):
    """The moments lie anywhere: in the start, in an epoch, in what is written after it, in the epochs that follow."""
    moments, finished = random.Random(5), [0]
    for number in range(kills):
        (tmp_path / "running").unlink(missing_ok=True)
        process = start(tmp_path, recipe, seconds_per_step=0.03)
        if number % 5 == 4:
            time.sleep(moments.uniform(0, 3))
        else:  # a process has 8 steps in an epoch, which is surely written when the next but one begins
            _wait_for(tmp_path / "running", process, size=moments.randint(1, 24))
            time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.join(10)
        assert process.exitcode == -signal.SIGKILL
        progress = RunFolder(tmp_path, writes=False).read_progress()
        finished.append(progress.epoch if progress else 0)
    print("finished epochs at each kill:", finished[1:])
    assert finished == sorted(finished)  # what was finished stays
    assert len(set(finished)) > 2
    last = start(tmp_path, recipe)
    last.join(60)
    assert last.exitcode == 0
    _assert_same_end(tmp_path, unbroken)
    assert not list(tmp_path.glob(".*"))


def test_sigterm_saves_the_step_it_meets(unbroken, start, tmp_path, recipe):
    process = start(tmp_path, recipe, seconds_per_step=0.2)
    _wait_for(tmp_path / "history.csv", process)
    time.sleep(0.5)
    process.terminate()
    process.join(20)
    assert process.exitcode == 143
    with zipfile.ZipFile(tmp_path / "checkpoint.keras") as archive:
        progress = json.loads(archive.read("progress.json"))
    assert progress["epoch"] >= 1
    assert 1 <= progress["step"] <= 8
    last = start(tmp_path, recipe)
    last.join(60)
    assert last.exitcode == 0
    _assert_same_end(tmp_path, unbroken)


def test_a_folder_in_use_is_refused(start, tmp_path, stripes, recipe):
    from keras_densenet.training import train

    process = start(tmp_path, recipe, seconds_per_step=0.5)
    _wait_for(tmp_path / "running", process)
    with pytest.raises(ValueError, match="Another process trains in"):
        train(processes.NETWORK, "stripes", stripes, recipe, tmp_path)
