"""One training run and its folder."""

import csv
import dataclasses
import json
import pathlib
import platform
import time

import keras
import tensorflow as tf

import keras_densenet
from keras_densenet.data import Augmentation, evaluation_batches, training_steps, training_stream
from keras_densenet.files import written_beside
from keras_densenet.models import DenseNet
from keras_densenet.training.curves import draw_curves


def train(network, data, splits, recipe, folder, callbacks=()):
    """Trains a network, or goes on with the run that `folder` holds.

    The folder gets `run.json` (arguments, versions, results), `history.csv`, `curves.png` and `model.keras`, which
    takes raw pixels in 0..255. A run that was killed goes on from its last finished epoch.

    Args:
        network: a dict of `DenseNet` arguments without input and classes.
        data: name of the data set, for `run.json`.
        splits: its `Splits`.
        recipe: a `Recipe`.
        folder: of the run.
        callbacks: further Keras callbacks.

    Returns:
        What `run.json` holds, a dict; "test" has loss and accuracy on the test images.

    Raises:
        ValueError: if the folder holds a run with other arguments, or a batch is larger than the training images.
        RuntimeError: if the loss stops being a number.
    """
    folder, steps = pathlib.Path(folder), training_steps(splits.train, recipe.batch_size)
    arguments = {"network": network, "data": data, "recipe": dataclasses.asdict(recipe)}
    arguments = json.loads(json.dumps(arguments))  # tuples become lists, as in the file
    state = _claim(folder, arguments, splits.labels)
    if "test" in state:
        return state
    keras.utils.set_random_seed(recipe.seed)
    checkpoint = folder / "checkpoint.keras"
    if checkpoint.exists():
        model = keras.models.load_model(checkpoint)
    else:
        model = _build(network, splits)
        model.compile(recipe.optimizer(steps), "sparse_categorical_crossentropy", **_COMPILE)
    first_epoch = int(model.optimizer.iterations) // steps
    stream, _ = training_stream(splits.train, recipe.batch_size, recipe.seed, first_epoch, Augmentation("shift"))
    validation, test = (evaluation_batches(split, recipe.batch_size) for split in (splits.validation, splits.test))
    history = _History(folder, checkpoint, first_epoch)
    if first_epoch < recipe.epochs:
        model.fit(
            stream,
            epochs=recipe.epochs,
            initial_epoch=first_epoch,
            steps_per_epoch=steps,
            validation_data=validation,
            shuffle=False,
            verbose=0,
            callbacks=[keras.callbacks.TerminateOnNaN(raise_error=True), history, *callbacks],
        )
    with written_beside(folder / "curves.png") as beside:
        draw_curves(history.rows, beside)
    with written_beside(folder / "model.keras") as beside:
        model.save(beside)
    result = model.evaluate(test, verbose=0, return_dict=True)
    state = {**state, "training_seconds": round(sum(row["seconds"] for row in history.rows), 1), "test": result}
    _write_json(folder / "run.json", state)
    checkpoint.unlink(missing_ok=True)
    return state


def evaluate(model, split, batch_size=64):
    """Loss and accuracy of a model that takes raw pixels, compiled with XLA.

    Args:
        model: as `load_model` gives it.
        split: a `Split`.
        batch_size: images in a batch.

    Returns:
        `{"loss": ..., "accuracy": ...}`.
    """
    model.compile(loss="sparse_categorical_crossentropy", **_COMPILE)
    return model.evaluate(evaluation_batches(split, batch_size), verbose=0, return_dict=True)


_COMPILE = {"weighted_metrics": ["accuracy"], "jit_compile": True}


def model_file(path):
    """The `.keras` file that a path means: itself, or `model.keras` of a run's folder."""
    path = pathlib.Path(path)
    file = path / "model.keras" if path.is_dir() else path
    if not file.is_file():
        what = "a run that has not finished: call train again to go on" if (path / "run.json").exists() else "not there"
        raise FileNotFoundError(f"{str(path)!r} is {what}. Give a run's folder or a .keras file")
    return file


def load_model(path):
    """Loads the model of a run's folder or a `.keras` file, and the names of its classes.

    Returns:
        `(model, labels)`; the labels are numbers where the run's `run.json` is not beside the file.
    """
    file = model_file(path)
    try:
        model = keras.models.load_model(file)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{str(file)!r} is not a complete .keras file: {error}") from None
    state = _read_json(file.parent / "run.json") or {}
    return model, state.get("labels") or [str(number) for number in range(model.output_shape[-1])]


def _build(network, splits):
    """The network behind a layer that normalises raw pixels with the training images' mean and variance."""
    images = splits.train.images
    image = keras.Input(images.shape[1:], name="image")
    axes = (0, 1, 2)
    normalisation = keras.layers.Normalization(mean=images.mean(axes), variance=images.var(axes), name="normalisation")
    return DenseNet(**network, input_tensor=normalisation(image), classes=len(splits.labels))


class _History(keras.callbacks.Callback):
    """Keeps `history.csv` and the checkpoint; the checkpoint is what counts, its optimizer knows the epoch."""

    def __init__(self, folder, checkpoint, first_epoch):
        super().__init__()
        self.file, self.checkpoint, self.rows = folder / "history.csv", checkpoint, []
        if first_epoch:
            with open(self.file, newline="") as file:
                rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
            for row in rows:
                row["epoch"] = int(row["epoch"])
            self.rows = [row for row in rows if row["epoch"] <= first_epoch]

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = round(time.perf_counter() - self.started, 3)
        figures = {name: float(value) for name, value in logs.items()}
        self.rows.append({"epoch": epoch + 1, **figures, "seconds": seconds})
        with written_beside(self.file) as beside, open(beside, "w", newline="") as file:
            writer = csv.DictWriter(file, self.rows[-1])
            writer.writeheader()
            writer.writerows(self.rows)
        with written_beside(self.checkpoint) as beside:
            self.model.save(beside)


def _claim(folder, arguments, labels):
    """Writes `run.json` into a new folder, or reads it and makes sure that it is this run's."""
    state = _read_json(folder / "run.json")
    if state is None:
        versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
        versions["keras_densenet"] = keras_densenet.__version__
        state = {"arguments": arguments, "labels": labels, "versions": versions}
        _write_json(folder / "run.json", state)
    elif state.get("arguments") != arguments:
        before, now = _flat(state.get("arguments") or {}), _flat(arguments)
        names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        changes = ", ".join(f"{name} {before.get(name)!r}, now {now.get(name)!r}" for name in names)
        raise ValueError(f"{str(folder)!r} holds a run with other arguments ({changes}): give another --out")
    return state


def _flat(nested):
    parts = [_flat(value) if isinstance(value, dict) else {name: value} for name, value in nested.items()]
    return {name: value for part in parts for name, value in part.items()}


def _read_json(path):
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a run's record: {error}") from None


def _write_json(path, value):
    with written_beside(path) as beside:
        beside.write_text(json.dumps(value, indent=2) + "\n")
