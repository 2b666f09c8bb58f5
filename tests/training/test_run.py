import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_densenet.training import Recipe, load_model, train
from tests.training.conftest import NETWORK

RECIPE = Recipe(epochs=3, batch_size=16, warmup_epochs=1, seed=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stripes):
    folder = tmp_path_factory.mktemp("run")
    return folder, train(NETWORK, "stripes", stripes, RECIPE, folder)


def _history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


class KilledAfter(keras.callbacks.Callback):
    """Ends the process' work in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch == 2:
            raise KeyboardInterrupt


def test_a_run_learns_and_leaves_its_files(finished):
    folder, state = finished
    assert sorted(path.name for path in folder.iterdir()) == ["curves.png", "history.csv", "model.keras", "run.json"]
    assert state == json.loads((folder / "run.json").read_text())
    assert state["arguments"]["recipe"]["seed"] == 3
    assert state["versions"]["keras"] == keras.__version__
    history = _history(folder)
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    with Image.open(folder / "curves.png") as picture:
        assert picture.size[0] > 500


def test_a_run_is_compiled_with_xla(finished):
    assert keras.models.load_model(finished[0] / "model.keras").jit_compile is True


def test_a_broken_run_goes_on_and_ends_like_an_unbroken_one(finished, stripes, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(NETWORK, "stripes", stripes, RECIPE, tmp_path, [KilledAfter(1)])
    assert not (tmp_path / "model.keras").exists()
    kept = _history(tmp_path)
    assert len(kept) == 1
    train(NETWORK, "stripes", stripes, RECIPE, tmp_path)
    assert _history(tmp_path)[0] == kept[0]
    assert len(_history(tmp_path)) == 3
    ours, theirs = load_model(tmp_path)[0], load_model(finished[0])[0]
    for a, b in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)


def test_a_finished_run_is_not_trained_again(finished, stripes):
    folder, state = finished
    before = (folder / "model.keras").stat().st_mtime_ns
    assert train(NETWORK, "stripes", stripes, RECIPE, folder) == state
    assert (folder / "model.keras").stat().st_mtime_ns == before


def test_a_folder_of_another_run_is_refused_and_left_alone(finished, stripes):
    folder, state = finished
    with pytest.raises(ValueError, match=r"other arguments \(growth_rate 4, now 8\): give another --out"):
        train({**NETWORK, "growth_rate": 8}, "stripes", stripes, RECIPE, folder)
    assert json.loads((folder / "run.json").read_text()) == state


def test_the_model_takes_raw_pixels_and_knows_its_labels(finished, stripes):
    model, labels = load_model(finished[0])
    assert labels == ["along", "across"]
    logits = model.predict_on_batch(stripes.train.images)
    assert logits.shape == (64, 2)
    np.testing.assert_allclose(logits.sum(-1), 1, rtol=1e-5)


def test_a_loss_that_is_no_number_ends_the_run(stripes, tmp_path):
    with pytest.raises(RuntimeError, match=r"(?i)nan"):
        train(NETWORK, "stripes", stripes, Recipe(epochs=2, batch_size=16, learning_rate=1e30), tmp_path)
    assert not (tmp_path / "model.keras").exists()


def test_a_batch_larger_than_the_data_is_refused_before_anything_is_written(stripes, tmp_path):
    with pytest.raises(ValueError, match=r"at most the 64 training images. Received: batch_size=65"):
        train(NETWORK, "stripes", stripes, Recipe(batch_size=65), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_or_broken_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not there. Give a run's folder or a .keras file"):
        load_model(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="has not finished"):
        load_model(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"model\.keras' is not a complete .keras file"):
        load_model(tmp_path)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": -1.0}])
def test_a_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .* Received: "):
        Recipe(**wrong)
