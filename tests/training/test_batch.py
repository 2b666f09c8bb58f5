"""`--batch-size auto`: the largest power of two that the memory holds, by the closed form and by a first step."""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import memory
from keras_densenet.cli import app
from keras_densenet.data import Split, Splits
from keras_densenet.training import Recipe, batch, largest_batch_size

NETWORK = {"blocks": (1,), "growth_rate": 2, "bottleneck": False, "stem": "cifar"}
RECIPE = Recipe(epochs=1, xla=False, normalise="unit")


def _splits(images, side=8):
    split = Split(np.zeros((images, side, side, 1), "uint8"), (np.arange(images) % 2).astype("int32"))
    return Splits(split, split, split, ["a", "b"])


@pytest.fixture
def tried(monkeypatch):
    """The batch sizes that were tried, which all fit."""
    found = []
    monkeypatch.setattr(batch, "_trains", lambda network, splits, recipe, *_: found.append(recipe.batch_size) or True)
    return found


@pytest.mark.parametrize(("accumulate", "images", "expected"), [(1, 100, 64), (4, 100, 64), (3, 100, 96), (1, 64, 64)])
def test_it_is_a_power_of_two_for_each_part_and_at_most_the_training_images(accumulate, images, expected, tried):
    recipe = RECIPE.changed(accumulate=accumulate, batch_size=accumulate)
    assert largest_batch_size(NETWORK, _splits(images), recipe, available=10**9) == expected
    assert tried == [expected]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_closed_form_fits_and_twice_as_much_does_not(policy, tried):
    cost = kd.cost({**NETWORK, "input_shape": (8, 8, 1), "classes": 2})
    available, dtype = 10**6, policy.removeprefix("mixed_")
    size = largest_batch_size(NETWORK, _splits(5000), RECIPE.changed(mixed_precision=policy), available=available)
    assert cost.training_bytes(size, dtype) <= available * batch.SHARE < cost.training_bytes(2 * size, dtype)


def test_what_holds_no_image_is_told():
    with pytest.raises(ValueError, match=r"no batch_size for 100 training images.*Give a smaller network"):
        largest_batch_size(NETWORK, _splits(100), RECIPE, available=1000)


OUT_OF_MEMORY = """
import json, sys
import numpy as np
from keras_densenet.training import Recipe, largest_batch_size
from tests.training.test_batch import NETWORK, RECIPE, _splits
tried = []
def track(sizes):
    for size in sizes:
        tried.append(size)
        yield size
wide = {**NETWORK, "growth_rate": 16, "bottleneck": True}
found = largest_batch_size(wide, _splits(256, side=64), RECIPE, available=10**10, track=track)
print(json.dumps([found, tried]))
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_where_a_step_runs_out_of_memory_half_is_tried():
    limit = {"TF_CPU_ALLOCATOR_USE_BFC": "1", "TF_CPU_BFC_MEM_LIMIT_IN_MB": "1000"}
    command = [sys.executable, "-c", OUT_OF_MEMORY]
    done = subprocess.run(command, env={**os.environ, **limit}, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    found, tried = json.loads(done.stdout.splitlines()[-1])
    assert tried[0] == 256
    assert tried[-1] == found < 256
    assert [a // b for a, b in itertools.pairwise(tried)] == [2] * (len(tried) - 1)


@pytest.mark.slow
def test_the_command_says_what_it_took_and_a_run_that_goes_on_keeps_it(tmp_path, monkeypatch):
    def train(*others, free):
        monkeypatch.setattr(memory, "available", lambda: free)
        words = ["train", "--blocks", "1", "--growth-rate", "2", "--no-bottleneck", "--no-xla", "--batch-size", "auto"]
        return CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run"), *others], env={"COLUMNS": "200"})

    first = train("--epochs", "1", "--warmup-epochs", "0", free=20 * 10**6)
    assert first.exit_code == 0, first.output
    recipe = json.loads((tmp_path / "run/run.json").read_text())["arguments"]["recipe"]
    assert f"batch size {recipe['batch_size']}, the largest power of two" in first.output
    assert recipe["batch_size"].bit_count() == 1
    again = train("--epochs", "2", "--warmup-epochs", "0", free=10**9)
    assert again.exit_code == 0, again.output
    assert json.loads((tmp_path / "run/run.json").read_text())["arguments"]["recipe"] == {**recipe, "epochs": 2}


def test_another_word_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["train", "--batch-size", "many", "--out", str(tmp_path)])
    assert "--batch-size must be a whole number or auto. Received: 'many'" in str(result.exception)


def test_the_memory_that_is_free_is_what_a_container_leaves(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert 2**20 < memory.available() < 2**60
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.available() == 4000
