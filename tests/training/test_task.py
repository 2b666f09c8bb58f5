"""What a task says: losses' weights, what is best, and what is refused."""

import math

import keras
import numpy as np
import pytest

from keras_densenet.training import Recipe, Task
from keras_densenet.training.recipe import RECIPES, completed
from tests.tiny import network

LABELS = ["ant", "bee", "cat"]
ONE = np.array([0, 0, 0, 1], "int32")
MANY = np.array([[1, 0, -1], [0, 0, -1], [0, -1, 1], [0, -1, 1]], "int8")


def _task(truth=ONE, **fields):
    return Task.of_labels(LABELS, Recipe(**fields), truth)


def test_what_is_best_is_accuracy_for_one_class_and_the_area_under_roc_for_many_labels():
    one, many = _task(), _task(MANY)
    assert (one.monitor, one.activation, one.metrics) == ("val_accuracy", "softmax", ("accuracy",))
    assert (many.monitor, many.activation) == ("val_auroc", "sigmoid")
    assert many.metrics == ("accuracy", "auroc", "average_precision")
    assert _task(monitor="val_auroc").metrics == ("accuracy", "auroc")
    rows = [{"val_accuracy": a, "val_loss": b} for a, b in ((0.5, 1.0), (0.5, 0.9), (0.6, 2.0), (0.6, 2.0))]
    assert [one.is_best(row, rows[:index]) for index, row in enumerate(rows)] == [True, True, True, False]
    losses = _task(monitor="val_loss")
    assert [losses.is_best(row, rows[:index]) for index, row in enumerate(rows)] == [True, True, False, False]


def test_what_is_no_number_is_never_best_unless_nothing_else_is():
    rows = [{"val_auroc": area, "val_loss": 1.0 - place} for place, area in enumerate((math.nan, 0.4, math.nan))]
    assert [_task(MANY).is_best(row, rows[:index]) for index, row in enumerate(rows)] == [True, True, False]


def test_patience_counts_epochs_without_a_better_one():
    task, rows = _task(monitor="val_loss"), [{"val_loss": loss} for loss in (3.0, 2.0, 2.5, 2.0, 1.9)]
    assert [task.is_over(rows[:count], 2) for count in range(6)] == [False, False, False, False, True, False]
    assert not any(task.is_over(rows[:count], 0) for count in range(6))


def test_an_unknown_monitor_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"monitor must be one of val_accuracy, .*for one class\. Received: .*'auc'$"):
        _task(monitor="auc")
    with pytest.raises(ValueError, match=r"monitor must be one of val_auroc, .*for many labels\. Received: .*top5'$"):
        _task(MANY, monitor="val_top5")


def test_balanced_weights_are_inverse_to_how_many_there_are_and_bounded():
    np.testing.assert_allclose(_task(class_weights="balanced").loss.weights, [2 / 3, 2, 1])  # there is no cat
    assert _task(MANY, class_weights="balanced").loss.weights == [3, 1, 1]  # every bee and cat is alike
    rare = np.zeros((1000, 3), "int8")
    rare[0] = 1
    assert _task(rare, class_weights="balanced").loss.weights == [100] * 3


def test_weights_come_from_a_table_by_label(tmp_path):
    (tmp_path / "weights.csv").write_text("cat,5\nant,0.5\n")
    recipe = Recipe(class_weights=str(tmp_path / "weights.csv"))
    assert recipe.class_weights == {"cat": 5.0, "ant": 0.5}
    assert Task.of_labels(LABELS, recipe, ONE).loss.weights == [0.5, 1, 5]
    with pytest.raises(ValueError, match=r"class_weights must name labels of the data\. Received: 'dog'"):
        _task(class_weights={"dog": 2})
    for wrong in (str(tmp_path / "nowhere.csv"), {"cat": "much"}):
        with pytest.raises(ValueError, match=r"class_weights must be none, balanced, a dict .* Received: "):
            Recipe(class_weights=wrong)
    with pytest.raises(ValueError, match=r"class_weights must be positive numbers\. Received: .*0\.0"):
        Recipe(class_weights={"cat": 0})
    with pytest.raises(ValueError, match="needs the training images' labels"):
        Task.of_labels(LABELS, Recipe(class_weights="balanced"))


def test_the_loss_is_the_recipes():
    loss = _task(MANY, loss="focal", gamma=3.0, label_smoothing=0.1).loss
    assert (type(loss).__name__, loss.gamma, loss.label_smoothing) == ("BinaryCrossentropy", 3, 0.1)
    assert _task(MANY, loss="focal", label_smoothing=0.1).validation_loss.label_smoothing == 0
    assert _task(gamma=3.0).loss.gamma == 0
    with pytest.raises(ValueError, match=r'^gamma must come with loss="focal"\. Received: gamma=3'):
        RECIPES["short"].changed(gamma=3.0)
    with pytest.raises(ValueError, match=r'^sampling="balanced" is for one class an image: give class_weights='):
        _task(MANY, sampling="balanced")


def test_a_trained_model_tells_its_task():
    for activation, many in (("softmax", False), ("sigmoid", True)):
        model = network(classes=3, classifier_activation=activation)
        task = Task.of_model(keras.Sequential([keras.Input((9, 8, 3)), model]), LABELS)
        assert (task.many, task.labels) == (many, tuple(LABELS))
    assert Task.of_model(network(classes=1, classifier_activation="sigmoid"), ["there"]).many


def test_a_recipe_of_an_older_version_has_the_defaults_of_what_it_lacks():
    assert completed({"epochs": 3})["loss"] == "cross_entropy"
    assert completed({"epochs": 3})["epochs"] == 3
