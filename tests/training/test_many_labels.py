"""Runs on many labels, and on one class by other measures than accuracy."""

import dataclasses
import json

import numpy as np
import pytest

from keras_densenet.cli import common
from keras_densenet.data.splits import subset
from keras_densenet.training import Recipe, load_model, load_record, train
from keras_densenet.training.metrics import summary
from tests import many
from tests.training import processes
from tests.training.processes import history

pytestmark = pytest.mark.slow

NETWORK = {"blocks": (2, 2), "growth_rate": 6}
RECIPE = Recipe(epochs=8, batch_size=32, xla=False, dropout_rate=0.0, augmentation="none", seed=1)


@pytest.fixture(scope="module")
def splits():
    return many.splits(960, 200, 200)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, splits):
    folder = tmp_path_factory.mktemp("many")
    return folder, train(NETWORK, "digits", splits, RECIPE, folder)


def _areas(path, split):
    model, labels = load_model(path)
    return summary(split.labels, model.predict_on_batch(split.images)), labels


def test_many_labels_are_learned(trained, splits):
    folder, state = trained
    names = ["loss", "accuracy", "val_loss", "val_accuracy", "val_auroc", "val_average_precision"]
    assert [*history(folder)[0]] == ["epoch", *names, "seconds"]
    found, labels = _areas(folder, splits.test)
    assert labels == many.NAMES
    assert found["auroc"] == pytest.approx(state["test"]["auroc"], abs=1e-5)
    assert found["average_precision"] == pytest.approx(state["test"]["average_precision"], abs=1e-5)
    assert state["test"]["auroc"] > 0.8
    assert load_model(folder)[0].layers[-1].activation.__name__ == "sigmoid"


def test_the_best_epoch_is_that_of_the_highest_area(trained, splits):
    folder, _ = trained
    areas = [float(row["val_auroc"]) for row in history(folder)]
    assert _areas(folder / "best.keras", splits.validation)[0]["auroc"] == pytest.approx(max(areas), abs=1e-5)


def test_under_xla_in_parts_mixed_precision_and_with_weights_the_loss_falls(splits, tmp_path):
    options = {"xla": True, "accumulate": 2, "mixed_precision": "mixed_bfloat16", "class_weights": "balanced"}
    recipe = dataclasses.replace(RECIPE, epochs=2, loss="focal", label_smoothing=0.1, **options)
    few = splits._replace(train=subset(splits.train, slice(320)))
    state = train({"blocks": (1,), "growth_rate": 4}, "digits", few, recipe, tmp_path)
    assert state["devices"]["xla"]
    losses = [float(row["loss"]) for row in history(tmp_path)]
    assert losses[1] < losses[0]
    assert 0 < state["test"]["auroc"] < 1


def test_what_is_unknown_makes_no_difference(splits, tmp_path):
    """A label that is unknown in all training images gets no gradient: its bias is what it began with."""
    labels = splits.train.labels.copy()
    labels[:, 3] = -1
    blind = splits._replace(train=splits.train._replace(labels=labels))
    recipe = dataclasses.replace(RECIPE, epochs=1, weight_decay=0.0)
    train(NETWORK, "digits", blind, recipe, tmp_path / "a")
    biases = load_model(tmp_path / "a")[0].layers[-1].get_weights()[1]
    assert biases[3] == 0
    assert (np.delete(biases, 3) != 0).all()


def test_one_class_is_judged_by_the_area_where_that_is_asked_for_and_patience_ends_the_run(stripes, tmp_path, capsys):
    recipe = Recipe(epochs=9, batch_size=16, learning_rate=1e-9, xla=False, monitor="val_auroc", patience=2)
    state = train(processes.NETWORK, "stripes", stripes, recipe, tmp_path)
    rows = history(tmp_path)
    areas = [float(row["val_auroc"]) for row in rows]
    assert len(rows) == areas.index(max(areas)) + 3 < 9
    assert _areas(tmp_path, stripes.test)[0]["auroc"] == pytest.approx(state["test"]["auroc"])
    assert train(processes.NETWORK, "stripes", stripes, recipe, tmp_path) == json.loads(
        (tmp_path / "run.json").read_text()
    )
    common.run_training(processes.NETWORK, "stripes", stripes, recipe, tmp_path)
    assert f"nothing is left to train (its --patience ended it after epoch {len(rows)})" in capsys.readouterr().out
    with pytest.raises(ValueError, match=f"patience=2 ended after epoch {len(rows)}, and more epochs do not go on"):
        train(processes.NETWORK, "stripes", stripes, recipe.changed(epochs=12), tmp_path)
    assert "test" in load_record(tmp_path)
