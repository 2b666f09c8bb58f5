"""A run's folder: what it holds, and how it outlives its process."""

import concurrent.futures
import contextlib
import dataclasses
import json
import math
import pathlib
import platform
import shutil
import zipfile

import keras
import tensorflow as tf

import keras_densenet
from keras_densenet.files import changes, locked, sweep, write_table, written_beside
from keras_densenet.models import DenseNetModel  # noqa: F401, which checkpoints name, as they do the classes of
from keras_densenet.training import losses, optimizer  # noqa: F401
from keras_densenet.training.curves import draw_curves
from keras_densenet.training.recipe import completed


@dataclasses.dataclass
class Progress:
    """How far a run has come: epochs, steps of the next one with their sums and seconds, a row for each epoch."""

    epoch: int = 0
    step: int = 0
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0] * 4)
    seconds: float = 0.0
    history: list[dict] = dataclasses.field(default_factory=list)


class FolderInUse(ValueError):
    """Another process trains in the folder."""


class RunFolder:
    """The files of a run, each of which is whole or not there.

    `run.json` (arguments, data, versions, results), `history.csv`, `curves.png`, `best.keras`, `model.keras`, and
    `checkpoint.keras`, whose archive also holds the `Progress`.

    Args:
        path: of the folder.
        writes: whether this process writes; of many workers one does.

    Raises:
        FolderInUse: if another process trains in the folder.
        OSError: if it cannot be written to.
    """

    def __init__(self, path, writes=True):
        self.path, self.writes, self.copy = pathlib.Path(path), writes, None
        self._writer, self._writing = concurrent.futures.ThreadPoolExecutor(1), None
        self._lock = contextlib.ExitStack()
        if not writes:
            return
        try:
            self._lock.enter_context(locked(self.path, wait=False))
        except BlockingIOError:
            raise FolderInUse(
                f"Another process trains in {str(self.path)!r}: wait for it, or give another --out"
            ) from None
        sweep(self.path, "*.*")

    def claim(self, arguments, labels, images, devices, is_over=lambda history: False):
        """Writes `run.json`, or reads it and makes sure that it is this run's; returns what it holds.

        A run that has ended is also this one's if this one has more epochs: then it has not ended any more.

        Args:
            arguments: of the run, a dict for JSON.
            labels: names of the classes.
            images: what the data is, a dict for JSON.
            devices: for people to read, a dict for JSON.
            is_over: whether a run with a history is not to have more epochs.
        """
        state = read_json(self.path / "run.json")
        if state is None:
            versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
            versions["keras_densenet"] = keras_densenet.__version__
            state = {"arguments": arguments, "labels": labels, "images": images, "devices": devices}
            state["versions"] = versions
            self.write_state(state)
            return state
        before, recorded = dict(state.get("arguments") or {}), state.get("images", images)
        images = {name: value for name, value in images.items() if name in recorded}
        now = {**arguments, "classes": dict(enumerate(labels)), "images": images}
        epochs = before.get("recipe", {}).get("epochs", math.inf)
        before["recipe"] = completed(before.get("recipe", {}))
        longer = "test" in state and arguments["recipe"]["epochs"] > epochs
        if longer:
            before["recipe"]["epochs"] = arguments["recipe"]["epochs"]
        before = {**before, "classes": dict(enumerate(state["labels"])), "images": recorded}
        if changed := changes(before, now):
            raise ValueError(f"{str(self.path)!r} holds a run with other arguments ({changed}): give another --out")
        if longer:
            self._lengthen(state, arguments, is_over)
        return state

    def _lengthen(self, state, arguments, is_over):
        progress = self.read_progress()
        if progress is None:
            raise ValueError(f"{str(self.path)!r} holds no checkpoint to go on from: give another --out")
        if is_over(progress.history):
            raise ValueError(
                f"{str(self.path)!r} holds a run that its patience={arguments['recipe']['patience']} ended after epoch "
                f"{progress.epoch}, and more epochs do not go on with: give another --out"
            )
        del state["test"]
        state["arguments"] = arguments
        self.write_state(state)

    def write_state(self, state):
        """Writes `run.json`."""
        self._write("run.json", lambda path: path.write_text(json.dumps(state, indent=2) + "\n"))

    def save_checkpoint(self, model, progress):
        """Writes `history.csv`, then the checkpoint, which is what counts; with a copy, while training goes on.

        An error in that is raised by whatever waits for it: the next checkpoint, what reads this one, or `close`.
        """
        if not self.writes:
            return
        self.wait()
        state = dataclasses.asdict(progress)
        if self.copy is None:
            self._write_checkpoint(model, state)
            return
        values = [variable.numpy() for variable in _variables(model)]
        self._writing = self._writer.submit(self._write_copy, values, state)

    def copy_checkpoint(self):
        """Makes the copy of the model that is written while the model itself changes: in the memory of the CPU."""
        if self.writes:
            with tf.device("CPU"):
                self.copy = self.load_checkpoint()

    def wait(self):
        """Waits until what is being written is there."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def _write_copy(self, values, state):
        with tf.device("CPU"):
            for variable, value in zip(_variables(self.copy), values, strict=True):
                variable.assign(value)
            self._write_checkpoint(self.copy, state)

    def _write_checkpoint(self, model, state):
        def write(path):
            model.save(path)
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(_PROGRESS, json.dumps(state))

        if history := state["history"]:
            write_table(self.path / "history.csv", history)
        self._write("checkpoint.keras", write)

    def read_progress(self):
        """The `Progress` of the checkpoint; None where there is none yet."""
        self.wait()
        path = self.path / "checkpoint.keras"
        if not path.exists():
            return None
        with zipfile.ZipFile(path) as archive:
            return Progress(**json.loads(archive.read(_PROGRESS)))

    def load_checkpoint(self):
        """The compiled model of the checkpoint."""
        self.wait()
        return keras.models.load_model(self.path / "checkpoint.keras")

    def check_space(self):
        """Raises OSError where the disk has no room for the files to come, by the checkpoint's size."""
        if not self.writes:
            return
        size = (self.path / "checkpoint.keras").stat().st_size
        need, free = 4 * size, shutil.disk_usage(self.path).free
        if free < need:
            raise OSError(f"{str(self.path)!r} needs {need >> 20:,} MB. Its disk has {free >> 20:,} MB left: make room")

    def save_model(self, model, name):
        """Writes a model without its optimizer."""
        bare = type(model)(model.input, model.output, name=model.name)
        bare.labels = getattr(model, "labels", None)
        self._write(name, bare.save)

    def finish(self, state, history):
        """Writes what is left to write when training is over."""
        self._write("curves.png", lambda path: draw_curves(history, path))
        self.write_state(state)

    def close(self):
        """Waits for what is being written, and lets other processes train in the folder."""
        try:
            self.wait()
        finally:
            self._writer.shutdown()
            self._lock.close()

    def _write(self, name, write):
        if self.writes:
            with written_beside(self.path / name) as beside:
                write(beside)


_PROGRESS = "progress.json"  # in the archive that a .keras file is


def _variables(model):
    return [*model.variables, *model.optimizer.variables]


def read_json(path):
    """What a JSON file of a run holds; None where it is not there."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a run's record: {error}") from None
