"""How good a trained network's answers are."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.data import Split, evaluation_batches
from keras_densenet.models.decisions import THRESHOLD, limits, thresholds_of
from keras_densenet.names import some
from keras_densenet.training import bootstrap, metrics
from keras_densenet.training.evaluation_files import MATRIX, write_evaluation
from keras_densenet.training.prediction import predictor
from keras_densenet.training.task import Task
from keras_densenet.types import Array, Path


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network answers to labelled images, of one class each or with many labels, and how good that is.

    Args:
        labels: names of the classes or labels.
        truth: int `(images,)`, the class of each image; or `(images, labels)`, 1 (there), 0 (not there), -1 (unknown).
        probabilities: float32 `(images, labels)`.
        thresholds: of many labels, the probability from which on each is there; None for one that has none. Default:
            0.5 each.
        groups: what each image belongs to, such as a patient, `(images,)`; the bootstrap draws whole groups.
        resamples: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.

    Examples:
        >>> answers = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], "float32")
        >>> found = kd.training.Evaluation(["cat", "dog"], truth=np.array([0, 1, 1]), probabilities=answers)
        >>> found.confusion.tolist(), found.class_accuracy.tolist()
        ([[1, 0], [1, 1]], [1.0, 0.5])
    """

    labels: list[str]
    truth: Array
    probabilities: Array
    thresholds: Sequence[float | None] = ()
    groups: Array | None = None
    resamples: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.many and not self.thresholds:
            object.__setattr__(self, "thresholds", (THRESHOLD,) * len(self.labels))

    @property
    def many(self) -> bool:
        """Whether an image may have many of the labels."""
        return self.truth.ndim == 2

    @functools.cached_property
    def loss(self) -> float:
        """Mean cross-entropy of the images; of many labels, mean binary cross-entropy of what is known, or NaN."""
        if self.many:
            wrong = np.where(self.truth == 1, self.probabilities, 1 - self.probabilities)[self.truth >= 0]
        else:
            wrong = np.take_along_axis(self.probabilities, self.truth[:, None], 1)
        losses = -np.log(np.maximum(wrong, keras.config.epsilon()))
        return float(losses.mean(dtype="float64")) if losses.size else float("nan")

    @functools.cached_property
    def accuracies(self) -> dict[str, float]:
        """Of one class an image, the shares "top1" and "top5": the class is most probable, or among the first five."""
        found = {} if self.many else metrics.accuracies(self.truth, self.probabilities)
        return {"top1": found["accuracy"], "top5": found["top5"]} if found else {}

    @property
    def top1(self) -> float:
        """Share of the images whose class is the most probable; NaN of many labels."""
        return self.accuracies.get("top1", float("nan"))

    @property
    def top5(self) -> float:
        """Share of the images whose class is among the five most probable; NaN of many labels."""
        return self.accuracies.get("top5", float("nan"))

    @functools.cached_property
    def counts(self) -> Array:
        """Of one class an image, int64 `(pairs, 3)`: true class, predicted class, images, of each pair that occurs."""
        pairs, images = np.unique(np.stack([self.truth, self.probabilities.argmax(1)], 1), axis=0, return_counts=True)
        return np.column_stack([pairs, images]).astype("int64")

    @property
    def confusion(self) -> Array:
        """Images by truth (row) and prediction: int64 `(classes, classes)`, of 60,000 classes 27 GB; or of many labels
        int64 `(labels, 2, 2)`, not there and there, 0 for a label without a threshold."""
        if self.many:
            found, known = self.probabilities >= limits(self.thresholds), self.truth >= 0
            known = known & np.isfinite(limits(self.thresholds))
            pairs = [[known & (self.truth == row) & (found == column) for column in (0, 1)] for row in (0, 1)]
            return np.moveaxis(np.sum(pairs, 2), -1, 0)
        matrix = np.zeros((len(self.labels), len(self.labels)), "int64")
        matrix[self.counts[:, 0], self.counts[:, 1]] = self.counts[:, 2]
        return matrix

    @property
    def images(self) -> Array:
        """Number of images of each class, or with each label."""
        return (self.truth == 1).sum(0) if self.many else np.bincount(self.truth, minlength=len(self.labels))

    @property
    def class_accuracy(self) -> Array:
        """Top-1 accuracy of each class; NaN where there are no images."""
        right = self.counts[self.counts[:, 0] == self.counts[:, 1]]
        found = np.zeros(len(self.labels))
        found[right[:, 0]] = right[:, 2]
        return found / np.where(self.images, self.images, np.nan)

    @functools.cached_property
    def areas(self) -> dict[str, Array]:
        """What `metrics.per_label` finds; empty of one of more than 1,000 classes."""
        few = self.many or len(self.labels) <= MATRIX
        return metrics.per_label(self.truth, self.probabilities) if few else {}

    @functools.cached_property
    def intervals(self) -> tuple[dict[str, Array], dict[str, tuple[float, float]]]:
        """What `bootstrap.intervals` finds, by label and for the means; empty without `areas` or without resamples."""
        if not self.areas or not self.resamples:
            return {}, {}
        return bootstrap.intervals(self.truth, self.probabilities, self.groups, self.resamples, self.seed)

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """What `evaluation.json` holds: loss, shares of right images, mean areas with intervals, calibration error."""
        found: dict[str, Any] = {"images": len(self.truth), "loss": self.loss, **self.accuracies}
        for name, values in self.areas.items():
            found[name] = metrics.mean_known(values)
            if ends := self.intervals[1].get(name):
                found[f"{name}_interval"] = [*ends]
        return {**found, "calibration_error": metrics.calibration_error(self.truth, self.probabilities)}

    @property
    def table(self) -> list[dict[str, Any]]:
        """A row for each label: what the CSV holds, a dict."""
        columns: dict[str, Any] = {"label" if self.many else "class": self.labels, "images": self.images}
        if self.many:
            columns["known"], columns["threshold"] = (self.truth >= 0).sum(0), self.thresholds
            (tn, fp), (fn, tp) = np.moveaxis(self.confusion, 0, -1)
            columns["sensitivity"], columns["specificity"] = share(tp, tp + fn), share(tn, tn + fp)
            columns["precision"] = share(tp, tp + fp)
        else:
            columns["accuracy"] = self.class_accuracy
        for name, values in self.areas.items():
            columns[name] = values
            if name in self.intervals[0]:
                columns[f"{name}_low"], columns[f"{name}_high"] = self.intervals[0][name].T
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def write(self, folder: Path) -> None:
        """Writes figures, tables and pictures.

        `evaluation.json` has the figures, `classes.csv` or `labels.csv` a row for each, `predictions.csv` truth and
        probabilities of every image; `confusion.csv` and `.png` what was taken for what, `roc.png` and
        `precision_recall.png` the curves, `reliability.png` how often probabilities are right. Of more than 1,000
        classes `confusion.csv` has a line for each pair that occurs, `predictions.csv` the most probable class alone,
        and there are no pictures.
        """
        write_evaluation(self, folder)


def evaluate(
    model: keras.Model,
    split: Split,
    labels: Sequence[str],
    batch_size: int = 64,
    ten_crop: bool = False,
    track: Callable[[tf.data.Dataset], Iterable[Any]] = lambda batches: batches,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compares a network with the labels of images.

    Args:
        model: from pixels in 0..255 to probabilities, as `load_model` gives it. Those of a `DenseNetModel` with
            `decisions` are taken after their temperature, and its labels are there from their thresholds on, or 0.5.
        split: a `Split`, of one class an image or of many labels; the bootstrap draws its `groups` whole.
        labels: names of the classes or labels.
        batch_size: images in a batch.
        ten_crop: whether to average over the corners and the centre of the enlarged image, and their mirror images.
        track: wraps the batches, to show progress.
        resamples, seed: of the bootstrap, as in `Evaluation`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: if the images or labels are not the network's.

    Examples:
        >>> model, labels = kd.training.load_model("runs/a")
        >>> kd.training.evaluate(model, splits.test, labels).images.tolist()
        [4, 4, 4]
    """
    check_fits(model, split, labels)
    found = answers(predictor(model, ten_crop), split, batch_size, track)
    thresholds = thresholds_of(model) if split.labels.ndim == 2 else ()
    return Evaluation(list(labels), split.labels, found, thresholds, split.groups, resamples, seed)


def answers(
    ask: Callable[[Any], Any],
    split: Split,
    batch_size: int = 64,
    track: Callable[[tf.data.Dataset], Iterable[Any]] = lambda batches: batches,
) -> Array:
    """What a function of batches of images gives for all images of a split, float32 `(images, labels)`."""
    found = []
    for images, _, weights in track(evaluation_batches(split, batch_size)):
        found.append(ask(images).numpy()[weights.numpy() > 0])  # the last batch is filled up
    return np.concatenate(found).astype("float32")


def arranged(split: Split, names: Sequence[str], labels: Sequence[str]) -> Split:
    """A split of many labels in the order of a network's, where it says nothing of one unknown (-1).

    Args:
        split: of many labels.
        names: of its labels.
        labels: the network's.

    Raises:
        ValueError: if they have no label in common.

    Examples:
        >>> model, labels = kd.training.load_model("runs/a")
        >>> for path, probabilities in kd.training.predict(model, ["photos/cat/000.png"]):
        ...     print(path, probabilities.shape)
        photos/cat/000.png (3,)
    """
    columns = {name: index for index, name in enumerate(names) if name}
    if not columns.keys() & set(labels):
        raise ValueError(f"The network's labels are {some(labels)}. Received: images with the labels {some(names)}")
    places = [columns.get(label, len(names)) for label in labels]
    unknown = np.full((len(split.labels), 1), -1, "int8")
    return split._replace(labels=np.hstack([split.labels, unknown])[:, places])


def check_fits(model: keras.Model, split: Split, labels: Sequence[str]) -> None:
    """Raises ValueError where images or labels are not a network's."""
    if not len(split.labels):
        raise ValueError("There are no images to evaluate on")
    wanted, found = model.input_shape[1:], split.images.shape[1:]
    if any(a not in (None, b) for a, b in zip(wanted, found, strict=True)):
        raise ValueError(f"The network takes images of {wanted}. Received: images of {tuple(found)}")
    many = split.labels.ndim == 2
    kind, count = "labels" if many else "classes", split.labels.shape[1] if many else len(labels)
    if not model.output_shape[-1] == count == len(labels):
        raise ValueError(f"The network has {model.output_shape[-1]} {kind}. Received: images of {count} {kind}")
    if many and not Task.of_model(model, labels).many:
        raise ValueError(
            "The images have many labels each, which needs a network that ends in a sigmoid. "
            f"Received: {model.name!r}, which does not"
        )


def share(part: Array, whole: Array) -> Array:
    """`part / whole`, NaN where there is nothing."""
    return part / np.where(whole, whole, np.nan)
