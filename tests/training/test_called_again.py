"""Runs whose folder is given to `train` again: what goes on, what has ended, what is refused."""

import dataclasses
import json
import shutil
import signal

import keras
import numpy as np
import pytest

from keras_densenet.files import changes
from keras_densenet.training import Recipe, load_model, train
from keras_densenet.training.folder import RunFolder
from tests.training.processes import NETWORK, RECIPE, history

pytestmark = pytest.mark.slow

NEW = ("loss", "gamma", "class_weights", "sampling", "monitor", "patience")  # fields of the recipe, once


def test_a_finished_run_is_not_trained_again(finished, stripes):
    folder, state = finished
    before = (folder / "model.keras").stat().st_mtime_ns
    assert train(NETWORK, "stripes", stripes, RECIPE, folder) == state
    assert (folder / "model.keras").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_refused_and_left_alone(finished, stripes):
    folder, state = finished
    with pytest.raises(ValueError, match=r"other arguments \(network\.growth_rate 4, now 8\): give another --out"):
        train({**NETWORK, "growth_rate": 8}, "stripes", stripes, RECIPE, folder)
    assert json.loads((folder / "run.json").read_text()) == state


def _narrow(splits):
    parts = [part._replace(images=part.images[:, :, :8]) for part in splits[:3]]
    return splits._replace(train=parts[0], validation=parts[1], test=parts[2])


OTHERS = {
    r"images\.shape \[12, 12, 1\], now \[12, 8, 1\]": _narrow,
    r"images\.train 64, now 48": lambda s: s._replace(
        train=s.train._replace(images=s.train.images[:48], labels=s.train.labels[:48])
    ),
    r"classes\.1 'across', now 'up'": lambda s: s._replace(labels=["along", "up"]),
    r"classes\.2 None, now 'none'": lambda s: s._replace(labels=[*s.labels, "none"]),
}


@pytest.fixture(scope="module")
def paused(tmp_path_factory, stripes):
    folder = tmp_path_factory.mktemp("paused")
    train(NETWORK, "stripes", stripes, RECIPE, folder, until=1)
    return folder


@pytest.mark.parametrize("difference", OTHERS)
def test_other_data_under_the_same_name_is_refused_before_and_after_the_end(difference, finished, paused, stripes):
    for folder in (finished[0], paused):
        before = (folder / "run.json").read_text()
        with pytest.raises(ValueError, match=rf"other arguments \({difference}.*\): give another --out"):
            train(NETWORK, "stripes", OTHERS[difference](stripes), RECIPE, folder)
        assert (folder / "run.json").read_text() == before


def test_of_many_differences_some_are_told():
    many = {str(index): index for index in range(30)}
    assert changes({}, many).endswith(", and 22 more")


def test_a_run_from_before_its_images_and_half_of_the_recipe_were_recorded_is_known(finished, stripes, tmp_path):
    shutil.copytree(finished[0], tmp_path / "a")
    state = {name: value for name, value in finished[1].items() if name != "images"}
    recipe = {name: value for name, value in state["arguments"]["recipe"].items() if name not in NEW}
    state["arguments"] = {**state["arguments"], "recipe": recipe}
    (tmp_path / "a" / "run.json").write_text(json.dumps(state))
    (tmp_path / "a" / "checkpoint.keras").unlink()
    assert train(NETWORK, "stripes", stripes, RECIPE, tmp_path / "a") == state
    with pytest.raises(ValueError, match="holds no checkpoint to go on from: give another --out"):
        train(NETWORK, "stripes", stripes, dataclasses.replace(RECIPE, epochs=4), tmp_path / "a")
    assert json.loads((tmp_path / "a" / "run.json").read_text()) == state


class Rates(keras.callbacks.Callback):
    """Notes the learning rate of each step."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_train_batch_begin(self, batch, logs=None):
        self.found.append(float(self.model.optimizer.learning_rate))


def test_a_run_that_ended_goes_on_with_more_epochs_on_the_longer_schedule(finished, stripes, tmp_path):
    shutil.copytree(finished[0], tmp_path / "a")
    longer, rates = dataclasses.replace(RECIPE, epochs=5), Rates()
    train(NETWORK, "stripes", stripes, longer, tmp_path / "a", [rates], until=4)
    assert "test" not in json.loads((tmp_path / "a" / "run.json").read_text())
    state = train(NETWORK, "stripes", stripes, longer, tmp_path / "a", [rates])
    expected = [float(longer.learning_rates(4)(step)) for step in range(12, 20)]
    np.testing.assert_allclose(rates.found, expected, rtol=1e-6)
    assert state["arguments"]["recipe"]["epochs"] == 5
    assert [row["epoch"] for row in history(tmp_path / "a")] == ["1", "2", "3", "4", "5"]
    assert history(tmp_path / "a")[:3] == history(finished[0])
    with pytest.raises(ValueError, match=r"other arguments \(recipe\.epochs 5, now 3\)"):
        train(NETWORK, "stripes", stripes, RECIPE, tmp_path / "a")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_where_the_schedule_is_the_same_a_lengthened_run_ends_like_an_unbroken_one(policy, stripes, tmp_path):
    """The rate is constant, but momentum, dropout, the loss' scale and the average of the weights go on."""
    varied = {"ema": 0.9, "augmentation": "none", "mixed_precision": policy}
    recipe = Recipe(epochs=1, batch_size=16, schedule="steps", drops=(0.999,), xla=False, **varied)
    longer = dataclasses.replace(recipe, epochs=2)
    train(NETWORK, "stripes", stripes, recipe, tmp_path / "a")
    for name in "ab":
        train(NETWORK, "stripes", stripes, longer, tmp_path / name)
    ours, theirs = (load_model(tmp_path / name)[0].weights for name in "ab")
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=a.path)


class Interrupts(keras.callbacks.Callback):
    """Sends so many SIGINTs at the end of a step."""

    def __init__(self, step, times=1):
        super().__init__()
        self.left, self.times = step, times

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def test_an_interrupt_saves_the_step_it_meets_and_a_second_one_does_not_wait(finished, stripes, tmp_path):
    for interrupts, place in ((Interrupts(2), (0, 3)), (Interrupts(3), (1, 3)), (Interrupts(2, times=2), (2, 0))):
        with pytest.raises(KeyboardInterrupt):
            train(NETWORK, "stripes", stripes, RECIPE, tmp_path, [interrupts])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        progress = RunFolder(tmp_path, writes=False).read_progress()
        assert (progress.epoch, progress.step) == place
    state = train(NETWORK, "stripes", stripes, RECIPE, tmp_path)
    assert state["test"]["loss"] == pytest.approx(finished[1]["test"]["loss"], rel=1e-4)


def test_an_ignored_interrupt_stays_ignored(stripes, tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        recipe = dataclasses.replace(RECIPE, epochs=1, warmup_epochs=0)
        assert train(NETWORK, "stripes", stripes, recipe, tmp_path, [Interrupts(2)])["test"]
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
