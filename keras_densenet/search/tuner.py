"""Trials that train with the package's own loop, each in a run's folder."""

import contextlib
import csv
import dataclasses
import functools
import gc
import math
import pathlib
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras_tuner.engine.base_tuner import BaseTuner

from keras_densenet import training
from keras_densenet.data import Splits, training_steps
from keras_densenet.memory import given_back
from keras_densenet.models import DenseNet
from keras_densenet.search.cluster import RobustTuner
from keras_densenet.search.front import milliseconds
from keras_densenet.search.report import MEASURED
from keras_densenet.search.warm import begun_with
from keras_densenet.training.folder import FolderInUse
from keras_densenet.training.task import Task, score
from keras_densenet.types import Path

LEAVING = 300  # seconds that a worker has to leave a trial which was given to another one


class _Trials(BaseTuner):
    """What `Tuner` does in any role."""

    def __init__(
        self, oracle, hypermodel, splits, data, executions=1, timed=False, folder="search", callbacks=(), **options
    ):
        folder = pathlib.Path(folder)
        with contextlib.redirect_stdout(None):  # KerasTuner tells what it reloads
            super().__init__(oracle, None, directory=str(folder.parent), project_name=folder.name, **options)
        self.hypermodel, self.splits, self.data = hypermodel, splits, data
        self.executions, self.timed, self.callbacks = executions, timed, callbacks

    def on_search_begin(self):
        gc.collect()  # what others left would be freed while a trial trains, and hide what it needs

    def run_trial(self, trial):
        """Trains the network of a trial, or goes on with that.

        Returns:
            The figures of `measure`; of a network whose loss is not a number any more the objective alone, as no
            number, which fails the trial. Its message says why.
        """
        values, first = trial.hyperparameters.values, trial
        while (former := first.hyperparameters.values.get("tuner/trial_id")) is not None:  # of the rung below
            first = self.oracle.get_trial(former)
        folder = pathlib.Path(self.get_trial_dir(first.trial_id))
        network, recipe = self.hypermodel.network(values), self.hypermodel.recipe_at(values)
        until = values.get("tuner/epochs")
        callbacks, former = [_Check(self.oracle), *self.callbacks], values.get("tuner/warm_start")
        warm = former and (former, pathlib.Path(self.get_trial_dir(former)))
        try:
            figures = measure(
                network, recipe, self.splits, self.data, folder, self.executions, until, callbacks, self.timed, warm
            )
            if wrong := [name for name in (self.oracle.objective.name, "val_loss") if not math.isfinite(figures[name])]:
                raise training.Diverged(f"{wrong[0]} is {figures[wrong[0]]} after epoch {figures['epochs']:.0f}")
        except training.Diverged as end:
            trial.message = str(end)
            return {self.oracle.objective.name: math.nan}
        return figures


class Tuner(RobustTuner, _Trials):
    """KerasTuner's tuner, with a run's folder for each execution of a trial, which a killed trial continues from.

    Args:
        oracle: one of `ALGORITHMS`.
        hypermodel: the `DenseNetHyperModel` of the oracle.
        splits: the data, `Splits`.
        data: its name.
        executions: seeds that each point is trained with.
        timed: whether to measure a network's inference, too.
        folder: of the search.
        callbacks: Keras callbacks of all trainings.
        **options: of `RobustTuner`.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.RandomSearch(hypermodel, kd.search.Budget(), max_trials=5)
        >>> tuner = kd.search.Tuner(oracle, hypermodel, splits, "photos", folder="searches/b")
    """


class _Check(keras.callbacks.Callback):
    """Ends a training whose trial was given to another worker."""

    def __init__(self, oracle):
        super().__init__()
        self.oracle = oracle

    def on_train_batch_end(self, batch, logs=None):
        self.oracle.check()


def measure(
    network: Mapping[str, Any],
    recipe: training.Recipe,
    splits: Splits,
    data: str,
    folder: Path,
    executions: int = 1,
    until: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    timed: bool = False,
    warm: tuple[str, Path] | None = None,
) -> dict[str, float]:
    """Trains a network with one or more seeds, and measures it.

    Args:
        network: a dict of `DenseNet` arguments.
        recipe: a `Recipe`; its seed is the first one.
        splits: the data, `Splits`.
        data: its name.
        folder: that gets a run's folder for each seed.
        executions: number of seeds.
        until: the epoch after which to pause.
        callbacks: Keras callbacks.
        timed: whether to measure inference, too, of a run that has ended.
        warm: the number and the folder of the trial whose weights it begins with. Default: random ones.

    Returns:
        A dict of floats, means over the seeds: what the recipe monitors, such as val_accuracy, and val_loss (of the
        last epoch), best_val_accuracy (of the best one), accuracy_spread (standard deviation), epochs, ms_per_step
        (median of the epochs, the first left out), peak_bytes (most that TensorFlow had allocated; only of a run that
        trained just now) and, for a run that has ended, test_accuracy and, if `timed`, milliseconds (of one image).

    Examples:
        >>> network = {"blocks": (1, 1), "growth_rate": 4, "input_shape": (16, 16, 3), "classes": 3}
        >>> recipe = kd.training.Recipe(epochs=1, batch_size=8, xla=False)
        >>> kd.search.measure(network, recipe, splits, "photos", "runs/measured")["epochs"]
        1.0
    """
    folder, monitor = pathlib.Path(folder), Task.of_data(splits, recipe).monitor
    what = monitor.removeprefix("val_")
    network = {name: value for name, value in network.items() if name not in ("input_shape", "classes", "dropout_rate")}
    found = []
    for execution in range(executions):
        run, before = folder / f"run{execution}", _allocated("current")
        _reset_peak()
        with given_back():
            seeded = dataclasses.replace(recipe, seed=recipe.seed + execution)
            build = begun_with(warm[0], pathlib.Path(warm[1]) / run.name / "checkpoint.keras") if warm else DenseNet
            state = _train(network, data, splits, seeded, run, callbacks, until=until, constructor=build)
        with open(run / "history.csv", newline="") as file:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        figures = {name: history[-1][name] for name in (monitor, "val_loss")}
        figures[f"best_{monitor}"] = max((row[monitor] for row in history), key=functools.partial(score, monitor))
        figures["epochs"] = float(len(history))
        seconds = statistics.median(row["seconds"] for row in history[1:] or history)
        figures["ms_per_step"] = 1000 * seconds / (training_steps(splits.train, recipe.batch_size) * recipe.accumulate)
        if (peak := _allocated("peak")) is not None and peak > before:
            figures["peak_bytes"] = float(peak - before)
        if "test" in state:
            figures[f"test_{what}"] = state["test"][what]
            if timed:
                figures[MEASURED] = milliseconds(run / "model.keras")
        found.append(figures)
    common = [name for name in found[0] if all(name in figures for figures in found)]
    means = {name: statistics.fmean(figures[name] for figures in found) for name in common}
    if executions > 1:
        means[f"{what}_spread"] = statistics.stdev(figures[monitor] for figures in found)
    return means


def _train(network, data, splits, recipe, folder, callbacks, **options):
    """Trains, once a worker that lost this trial, which its next step tells it, has left the folder."""
    deadline = time.monotonic() + LEAVING
    while True:
        try:
            return training.train(network, data, splits, recipe, folder, callbacks, **options)
        except FolderInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _device():
    return "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"


def _allocated(what):
    try:
        return tf.config.experimental.get_memory_info(_device())[what]
    except ValueError:  # an allocator that does not count
        return None


def _reset_peak():
    if _allocated("peak") is not None:
        tf.config.experimental.reset_memory_stats(_device())
