"""What a trained network gets right, and what it says about images."""

import csv
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.data import Split, evaluation_batches, read_images
from keras_densenet.files import written_beside
from keras_densenet.models import framing_of
from keras_densenet.training.curves import draw_confusion
from keras_densenet.types import Array, Path

MATRIX = 1000  # classes whose confusion is written and drawn as a matrix


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How a network does on labelled images.

    Args:
        loss: mean cross-entropy.
        top1, top5: shares of the images whose class is the most probable, or among the five most probable.
        counts: int64 `(pairs, 3)`: true class, predicted class and number of images of each pair that occurs.
        labels: names of the classes.

    Examples:
        >>> counts = np.array([[0, 0, 3], [0, 1, 1], [1, 1, 4]])  # true class, predicted class, images
        >>> found = kd.training.Evaluation(loss=0.4, top1=7 / 8, top5=1.0, counts=counts, labels=["cat", "dog"])
        >>> found.confusion.tolist(), found.class_accuracy.tolist()
        ([[3, 1], [0, 4]], [0.75, 1.0])
    """

    loss: float
    top1: float
    top5: float
    counts: Array
    labels: list[str]

    @property
    def confusion(self) -> Array:
        """int64 `(classes, classes)`, images by true class (row) and predicted class; of 60,000 classes 27 GB."""
        matrix = np.zeros((len(self.labels), len(self.labels)), "int64")
        matrix[self.counts[:, 0], self.counts[:, 1]] = self.counts[:, 2]
        return matrix

    @property
    def images(self) -> Array:
        """Number of images of each class."""
        return self._by_class(self.counts)

    @property
    def class_accuracy(self) -> Array:
        """Top-1 accuracy of each class; NaN where there are no images."""
        right = self.counts[self.counts[:, 0] == self.counts[:, 1]]
        return self._by_class(right) / np.where(self.images, self.images, np.nan)

    def _by_class(self, counts):
        images = np.zeros(len(self.labels), "int64")
        np.add.at(images, counts[:, 0], counts[:, 2])
        return images

    def write(self, folder: Path) -> None:
        """Writes `evaluation.json`, `classes.csv`, `confusion.csv` and `confusion.png`.

        Of more than 1,000 classes `confusion.csv` has a line for each pair that occurs, and there is no picture.
        """
        folder, figures = pathlib.Path(folder), {"loss": self.loss, "top1": self.top1, "top5": self.top5}
        with written_beside(folder / "evaluation.json") as path:
            path.write_text(json.dumps({**figures, "images": int(self.images.sum())}, indent=2) + "\n")
        rows = zip(self.labels, self.images, self.class_accuracy, strict=True)
        _write_csv(folder / "classes.csv", [("class", "images", "accuracy"), *rows])
        if len(self.labels) > MATRIX:
            pairs = ((self.labels[true], self.labels[found], count) for true, found, count in self.counts)
            _write_csv(folder / "confusion.csv", [("true class", "predicted class", "images"), *pairs])
            (folder / "confusion.png").unlink(missing_ok=True)
            return
        confusion = self.confusion
        matrix = ([label, *row] for label, row in zip(self.labels, confusion, strict=True))
        _write_csv(folder / "confusion.csv", [("true class", *self.labels), *matrix])
        with written_beside(folder / "confusion.png") as path:
            draw_confusion(confusion, self.labels, path)


def evaluate(
    model: keras.Model,
    split: Split,
    labels: Sequence[str],
    batch_size: int = 64,
    ten_crop: bool = False,
    track: Callable[[tf.data.Dataset], Iterable[Any]] = lambda batches: batches,
) -> Evaluation:
    """Compares a network with the labels of images.

    Args:
        model: from pixels in 0..255 to probabilities, as `load_model` gives it.
        split: a `Split`.
        labels: names of the classes.
        batch_size: images in a batch.
        ten_crop: whether to average over the corners and the centre of the enlarged image, and their mirror images.
        track: wraps the batches, to show progress.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: if the images or labels are not the network's.

    Examples:
        >>> model, labels = kd.training.load_model("runs/a")
        >>> kd.training.evaluate(model, splits.test, labels).images.tolist()
        [4, 4, 4]
    """
    _check_fits(model, split, labels)
    probabilities = _predictor(model, ten_crop)
    total, within5, pairs = 0.0, 0, []
    for images, truth, weights in track(evaluation_batches(split, batch_size)):
        real = weights.numpy() > 0  # the last batch is filled up
        truth, found = truth.numpy()[real], probabilities(images).numpy()[real]
        of_truth = np.take_along_axis(found, truth[:, None], 1)
        total -= np.log(np.maximum(of_truth, keras.config.epsilon())).sum(dtype="float64")
        within5 += int(((found > of_truth).sum(1) < 5).sum())
        pairs.append(np.stack([truth, found.argmax(1)], 1))
    unique, numbers = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    counts, count = np.column_stack([unique, numbers]).astype("int64"), len(split.labels)
    right = numbers[unique[:, 0] == unique[:, 1]].sum()
    return Evaluation(total / count, right / count, within5 / count, counts, list(labels))


def predict(
    model: keras.Model,
    paths: Iterable[Path],
    batch_size: int = 64,
    bad: Callable[[Exception], None] | None = None,
) -> Iterator[tuple[Path, Array]]:
    """Asks a network about image files, a batch at a time.

    Args:
        model: from pixels in 0..255 to probabilities.
        paths: of image files, an iterable.
        batch_size: images in a batch; a network for any size gets them one by one.
        bad: called with the error of a file that cannot be read, which is then left out. Default: the error is raised.

    Yields:
        `(path, probabilities)`, probabilities `(classes,)`.

    Examples:
        >>> model, labels = kd.training.load_model("runs/a")
        >>> for path, probabilities in kd.training.predict(model, ["photos/cat/000.png"]):
        ...     print(path, probabilities.shape)
        photos/cat/000.png (3,)
    """
    framing, probabilities = framing_of(model), _predictor(model)
    size, paths = 1 if framing.size is None else batch_size, iter(paths)
    while batch := list(itertools.islice(paths, size)):
        known, images = [], []
        for path in batch:
            try:
                images.append(read_images([path], framing)[0])
                known.append(path)
            except (ValueError, OSError) as error:
                if bad is None:
                    raise
                bad(error)
        if known:
            filled = np.stack([*images, *images[:1] * (size - len(images))])
            yield from zip(known, probabilities(tf.constant(filled)).numpy(), strict=False)


def _predictor(model, ten_crop=False):
    """A compiled function from images to probabilities."""

    def probabilities(images):
        if not ten_crop:
            return model(images, training=False)
        return sum(model(crop, training=False) for crop in _ten_crops(images)) / 10

    return tf.function(probabilities, jit_compile=True, autograph=False, reduce_retracing=True)


def _ten_crops(images):
    """Corners and centre of the images enlarged by 8/7 (256 to 224), and their mirror images."""
    height, width = images.shape[1:3]
    above, left = round(height / 7), round(width / 7)
    large = tf.image.resize(images, (height + above, width + left))
    for y, x in ((0, 0), (0, left), (above, 0), (above, left), (above // 2, left // 2)):
        crop = large[:, y : y + height, x : x + width]
        yield from (crop, crop[:, :, ::-1])


def _check_fits(model, split, labels):
    if not len(split.labels):
        raise ValueError("There are no images to evaluate on")
    wanted, found = model.input_shape[1:], split.images.shape[1:]
    if any(a not in (None, b) for a, b in zip(wanted, found, strict=True)):
        raise ValueError(f"The network takes images of {wanted}. Received: images of {tuple(found)}")
    if model.output_shape[-1] != len(labels):
        raise ValueError(f"The network has {model.output_shape[-1]} classes. Received: images of {len(labels)} classes")


def _write_csv(path, rows):
    how = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}  # a name may be no Unicode
    with written_beside(path) as beside, open(beside, "w", **how) as file:
        csv.writer(file).writerows(rows)
