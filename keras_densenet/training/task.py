"""What a network is to learn, and what is best: the one description that loop, evaluation, search and export read."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from keras_densenet.data import Splits
from keras_densenet.models.flat import many_labels
from keras_densenet.training.losses import BinaryCrossentropy, CategoricalCrossentropy
from keras_densenet.training.recipe import Recipe
from keras_densenet.types import Array

HEAVIEST = 100  # the most that "balanced" weighs a label, and the inverse of the least
ONE = ("accuracy", "loss", "top5", "auroc", "average_precision")
MANY = ("auroc", "average_precision", "accuracy", "loss")  # what can be monitored; the first is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """Names of labels, whether an image has one of them or many, the loss, and what to monitor.

    Attributes:
        labels: names of the classes or labels.
        many: whether each label is there or not by itself, and so is the last activation a sigmoid; one sigmoid is a
            task of many labels with one label.
        loss: a `BinaryCrossentropy` or `CategoricalCrossentropy`.
        monitor: the column of `history.csv` that says which epoch, and in a search which network, is best.

    Examples:
        >>> loss = kd.training.CategoricalCrossentropy()
        >>> task = kd.training.Task(labels=("ant", "bee"), many=False, loss=loss)
        >>> task.activation, task.monitor, task.metrics
        ('softmax', 'val_accuracy', ('accuracy',))
    """

    labels: tuple[str, ...]
    many: bool
    loss: BinaryCrossentropy | CategoricalCrossentropy
    monitor: str = ""

    def __post_init__(self) -> None:
        known = [f"val_{name}" for name in (MANY if self.many else ONE)]
        if self.monitor not in ("", *known):
            kind = "many labels" if self.many else "one class"
            raise ValueError(
                f"monitor must be one of {', '.join(known)} for {kind}. Received: monitor={self.monitor!r}"
            )
        object.__setattr__(self, "monitor", self.monitor or known[0])

    @classmethod
    def of_data(cls, splits: Splits, recipe: Recipe) -> "Task":
        """What a recipe makes a network learn from a data set.

        Raises:
            ValueError: if the recipe asks for what the data's labels do not allow.
        """
        return cls.of_labels(splits.labels, recipe, splits.train.labels)

    @classmethod
    def of_labels(cls, labels: Sequence[str], recipe: Recipe, truth: Array | None = None, many: bool = False) -> "Task":
        """What a recipe makes a network learn.

        Args:
            labels: names.
            recipe: a `Recipe`.
            truth: the labels of the training images, which "balanced" class weights need; they tell `many`, too.
            many: whether an image may have many labels, where there is no `truth`.

        Raises:
            ValueError: as `of_data`.
        """
        many = many if truth is None else truth.ndim == 2
        weights = _weights(labels, recipe.class_weights, truth, many)
        if many and recipe.sampling == "balanced":
            raise ValueError('sampling="balanced" is for one class an image: give class_weights="balanced" instead')
        kind = BinaryCrossentropy if many else CategoricalCrossentropy
        gamma = recipe.gamma if recipe.loss == "focal" else 0.0
        loss = kind(weights=weights, gamma=gamma, label_smoothing=recipe.label_smoothing)
        return cls(labels=tuple(labels), many=many, loss=loss, monitor=recipe.monitor or "")

    @classmethod
    def of_model(cls, model: keras.Model, labels: Sequence[str]) -> "Task":
        """What a trained network has learned: many labels where it ends in sigmoids, otherwise one class an image."""
        many = many_labels(model)
        return cls(labels=tuple(labels), many=many, loss=BinaryCrossentropy() if many else CategoricalCrossentropy())

    @property
    def activation(self) -> str:
        """Of the classifier."""
        return "sigmoid" if self.many else "softmax"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what validation tells beside the loss.

        For one class, areas under curves are computed only where they are monitored: of many classes they take long.
        """
        if self.many:
            return ("accuracy", "auroc", "average_precision")
        return tuple(dict.fromkeys(name for name in ("accuracy", self.monitor[4:]) if name != "loss"))

    @property
    def validation_loss(self) -> BinaryCrossentropy | CategoricalCrossentropy:
        """The loss without label smoothing."""
        return type(self.loss).from_config({**self.loss.get_config(), "label_smoothing": 0.0})

    def rank(self, row: Mapping[str, float]) -> tuple[float, float]:
        """What is higher the better an epoch was, by its row of `history.csv`: what is monitored, then the loss."""
        return score(self.monitor, row[self.monitor]), score("val_loss", row["val_loss"])

    def is_best(self, row: Mapping[str, float], former: Sequence[Mapping[str, float]]) -> bool:
        """Whether an epoch is better than all former ones."""
        return all(self.rank(row) > self.rank(other) for other in former)

    def is_over(self, history: Sequence[Mapping[str, float]], patience: int) -> bool:
        """Whether the last `patience` epochs, of which 0 is any number, brought nothing better."""
        ranks = [self.rank(row) for row in history]
        return bool(patience and ranks) and len(ranks) - ranks.index(max(ranks)) > patience


def direction(name: str) -> str:
    """ "min" or "max": which way a figure is better, by its name."""
    return "min" if name.endswith("loss") else "max"


def score(name: str, value: float) -> float:
    """A figure so that higher is better; what is no number is worst."""
    return -math.inf if math.isnan(value) else -value if direction(name) == "min" else value


def told(name: str, value: float) -> str:
    """A figure for people."""
    return f"{value:.2%}" if name.endswith(("accuracy", "top5")) else f"{value:.4f}"


def _weights(labels, wanted, truth, many):
    """What each label weighs, a list; None where all weigh the same."""
    if wanted == "none":
        return None
    if isinstance(wanted, dict):
        if unknown := [name for name in wanted if name not in labels]:
            raise ValueError(f"class_weights must name labels of the data. Received: {', '.join(map(repr, unknown))}")
        return [wanted.get(name, 1.0) for name in labels]
    if truth is None:
        raise ValueError('class_weights="balanced" needs the training images\' labels: give a dict of label to weight')
    if many:
        there, others = (truth == 1).sum(0), (truth == 0).sum(0)
    else:
        there = np.bincount(truth, minlength=len(labels))
        others = np.full(len(labels), len(truth) / np.count_nonzero(there))
    weights = np.clip(others / np.maximum(there, 1), 1 / HEAVIEST, HEAVIEST)
    return np.where((there > 0) & (others > 0), weights, 1.0).tolist()
