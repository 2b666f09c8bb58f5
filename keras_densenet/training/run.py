"""One training run: from data and a recipe to a folder with a trained model, through any number of interruptions."""

import contextlib
import dataclasses
import functools
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.data import Splits, evaluation_batches, training_steps, training_stream
from keras_densenet.models import DenseNet
from keras_densenet.training.build import build, dtype_policy
from keras_densenet.training.folder import Progress, RunFolder
from keras_densenet.training.loop import Loop, Window, figures
from keras_densenet.training.recipe import Recipe
from keras_densenet.training.strategy import (
    check_same_place,
    distributed,
    is_alone,
    is_chief,
    lost_worker_told,
    uses_xla,
)
from keras_densenet.training.task import Task
from keras_densenet.types import Path


class Terminated(SystemExit):
    """SIGTERM ended a run, which is saved; called again it goes on. The exit code is 143, as is usual for SIGTERM.

    Examples:
        >>> issubclass(kd.training.Terminated, SystemExit)  # `except Exception` leaves it alone
        True
    """


class Diverged(RuntimeError):
    """The loss of a run is not a number any more.

    Examples:
        >>> issubclass(kd.training.Diverged, RuntimeError)
        True
    """


def train(
    network: Mapping[str, Any],
    data: str,
    splits: Splits,
    recipe: Recipe,
    folder: Path,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    strategy: tf.distribute.Strategy | None = None,
    weights: Path | None = None,
    freeze: str | None = None,
    constructor: Callable[..., keras.Model] = DenseNet,
    until: int | None = None,
) -> dict[str, Any]:
    """Trains a network, or goes on with the run that `folder` holds.

    The folder gets `run.json` (arguments, data, versions, results), `history.csv`, `curves.png`, `model.keras` (the
    last epoch's, as in the paper), `best.keras` (of the epoch that is best on the validation images, by what the recipe
    monitors); both take pixels in 0..255; and `checkpoint.keras`, which is written while training goes on. A run that
    was killed goes on from its last finished epoch, and ends as if it had not been killed. SIGTERM and SIGINT let it
    finish the step it is in (of many workers, up to ten), or the validation, and save it there; a second SIGINT does
    not wait.

    A run that has ended, other than by its patience, goes on if it is called with more epochs. The schedule is then
    laid out over all of them, and the new ones follow their part of it: the cosine rises to where the longer one would
    be and falls to 0 again. So the run is not quite what it would have been with so many epochs from the start.

    Args:
        network: a dict of `DenseNet` arguments without input, classes and dropout.
        data: name of the data set, for `run.json`.
        splits: its `Splits`, of one class an image or many labels.
        recipe: a `Recipe`.
        folder: of the run. Many workers share it; the chief writes.
        callbacks: further Keras callbacks. What they get after a batch are the epoch's figures when they were last
            fetched from the device, ten steps or half a second ago at most.
        strategy: what `make_strategy` gave. Default: one device.
        weights: to start from, whatever `DenseNet` takes; the classifier is new.
        freeze: the last stage to leave untrained.
        constructor: what `network` are arguments of, to train another network in the same way.
        until: the epoch to pause after, which is not the run's end: called again, it goes on.

    Returns:
        What `run.json` holds, a dict; "test" has loss, accuracy and the task's other figures on the test images, once
        the run has ended.

    Raises:
        ValueError: if the folder holds a run with other arguments or other data, the recipe asks for what the data's
            labels do not allow, a batch is larger than the training images or cannot be shared out, or XLA is asked for
            where it cannot be.
        OSError: if the folder cannot be written to, or its disk is too small.
        Diverged: if the loss stops being a number.
        ConnectionError: if another worker is lost.
        Terminated: after SIGTERM.
        KeyboardInterrupt: after SIGINT.

    Examples:
        >>> recipe = kd.training.Recipe(epochs=1, batch_size=8, xla=False)
        >>> record = kd.training.train({"blocks": (1, 1), "growth_rate": 4}, "photos", splits, recipe, "runs/b")
        >>> sorted(record["test"])
        ['accuracy', 'loss'...]
    """
    strategy, task = strategy or tf.distribute.get_strategy(), Task.of_data(splits, recipe)
    updates, xla = training_steps(splits.train, recipe.batch_size), uses_xla(recipe, strategy)
    steps = updates * recipe.accumulate
    arguments = {
        "network": {**network, "dropout_rate": recipe.dropout},
        "kind": constructor.__name__,
        "data": data,
        "recipe": dataclasses.asdict(recipe),
        "weights": weights and str(weights),
        "freeze": freeze,
    }
    counts = {name: len(getattr(splits, name).labels) for name in ("train", "validation", "test")}
    images = {**counts, "shape": splits.train.images.shape[1:]}
    if splits.held_out:
        images["held_out"] = splits.held_out
    arguments, images = json.loads(json.dumps([arguments, images]))  # tuples become lists, as in the file
    with contextlib.closing(RunFolder(folder, is_chief(strategy))) as run, lost_worker_told(strategy):
        devices = {"replicas": strategy.num_replicas_in_sync, "xla": xla}
        is_over = functools.partial(task.is_over, patience=recipe.patience)
        state = run.claim(arguments, splits.labels, images, devices, is_over)
        if "test" in state:
            return state
        progress = run.read_progress()
        check_same_place(strategy, progress and progress.epoch * steps + progress.step)
        with strategy.scope():
            if progress:
                with dtype_policy(recipe.mixed_precision):  # by which Keras decides whether to scale the loss
                    model = run.load_checkpoint()
                model.optimizer.learning_rate = recipe.learning_rates(steps)  # of all epochs, where they became more
            else:
                model = build(arguments["network"], splits, recipe, updates, task, weights, freeze, constructor)
        if not progress:
            progress = Progress()
            run.save_checkpoint(model, progress)
        last = min(recipe.epochs, until or recipe.epochs)
        if last - progress.epoch > 1:  # or there is no training that would go on
            with dtype_policy(recipe.mixed_precision):
                run.copy_checkpoint()
        run.check_space()
        loop = Loop(model, strategy, xla, task)
        callbacks = keras.callbacks.CallbackList(list(callbacks), model=model, epochs=recipe.epochs, steps=steps)
        progress = _train_epochs(run, loop, splits, recipe, steps, progress, callbacks, last)
        over = model.stop_training or is_over(progress.history)
        if progress.epoch < recipe.epochs and not over:
            return state
        with loop.averaged_weights():
            run.save_model(model, "model.keras")
            state["test"] = loop.evaluate(_evaluation(splits.test, recipe, strategy))
        state["training_seconds"] = round(sum(row["seconds"] for row in progress.history), 1)
        run.finish(state, progress.history)
    return state


def _train_epochs(run, loop, splits, recipe, steps, progress, callbacks, last):
    """The epochs that are left until the `last` -> the `Progress` at their end."""
    model, task = loop.model, loop.task
    model.stop_training = False
    stream = iter(_stream(splits, recipe, loop.strategy, progress))
    validation = _evaluation(splits.validation, recipe, loop.strategy)
    callbacks.on_train_begin()
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_signals_noticed())
        stack.callback(callbacks.on_train_end)
        while progress.epoch < last and not (model.stop_training or task.is_over(progress.history, recipe.patience)):
            callbacks.on_epoch_begin(progress.epoch)
            _train_steps(run, loop, recipe, steps, progress, stream, callbacks, stop)
            with loop.averaged_weights():
                callbacks.on_test_begin()
                validated = loop.evaluate(validation)
                row = {**figures(progress.sums), **{f"val_{name}": value for name, value in validated.items()}}
                callbacks.on_test_end(validated)
                if task.is_best(row, progress.history):
                    run.save_model(model, "best.keras")
            history = [*progress.history, {"epoch": progress.epoch + 1, **row, "seconds": round(progress.seconds, 3)}]
            progress = Progress(progress.epoch + 1, history=history)
            run.save_checkpoint(model, progress)
            callbacks.on_epoch_end(progress.epoch - 1, row)
    return progress


def _train_steps(run, loop, recipe, steps, progress, stream, callbacks, stop):
    """The steps of an epoch that are left; `progress` moves with them."""
    loop.start_dropout(recipe.seed, progress.epoch, progress.step)
    started, window = time.perf_counter() - progress.seconds, Window(is_alone(loop.strategy))
    told = False  # this process to stop, or another one
    while progress.step < steps:
        callbacks.on_train_batch_begin(progress.step)
        window.sums.append(loop.train(*next(stream), stop=bool(stop)))
        told = told or (window.alone and bool(stop))
        progress.step += 1
        if told or window.is_full() or progress.step == steps:
            sums = window.fetch()
            _check_losses(sums[:, 0], progress, steps, recipe)
            progress.sums = [*map(float, sum(sums, start=np.array(progress.sums)))]
            told = told or sums[:, 3].any()
        progress.seconds = time.perf_counter() - started
        callbacks.on_train_batch_end(progress.step - 1, figures(progress.sums))
        if told:
            loop.average_statistics()
            run.save_checkpoint(loop.model, progress)
            raise _ending(stop)
    loop.average_statistics()


def _check_losses(losses, progress, steps, recipe):
    """Raises `Diverged` if one of the last steps' losses is no number."""
    for batch, loss in enumerate(losses, progress.step - len(losses) + 1):
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss became {loss} in batch {batch} of {steps} of epoch {progress.epoch + 1}: try a lower "
                f"learning rate. Received: learning_rate={recipe.learning_rate}"
            )


def _stream(splits, recipe, strategy, progress):
    def batches(shard):
        return training_stream(
            splits.train,
            recipe.batch_size,
            recipe.seed,
            progress.epoch,
            recipe.variation(),
            shard,
            classes=len(splits.labels),
            balanced=recipe.sampling == "balanced",
        )[0]

    return distributed(strategy, batches, recipe.accumulate, progress.step, endless=True)


def _evaluation(split, recipe, strategy):
    def batches(shard):
        index, count = shard
        size = recipe.batch_size // recipe.accumulate
        mine = slice(index * size // count, (index + 1) * size // count)
        return evaluation_batches(split, size).map(lambda *batch: tuple(part[mine] for part in batch))

    return distributed(strategy, batches)


@contextlib.contextmanager
def _signals_noticed():
    """Yields a list that gets SIGTERM and SIGINT, which would otherwise end the process; ends it if nobody has."""
    received, before = [], {}
    if threading.current_thread() is not threading.main_thread():  # signals cannot be handled there
        yield received
        return

    def notice(number, _):
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[number])  # a second one does not wait

    ours = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # neither ignored nor somebody else's
        ours.append(signal.SIGINT)
    for number in ours:
        before[number] = signal.getsignal(number)
        signal.signal(number, notice)
    try:
        yield received
    finally:
        for number in ours:
            signal.signal(number, before[number])
    if received:  # after the last step, whose epoch is saved
        raise _ending(received)


def _ending(received):
    """What ends a run that was told to stop; without a signal of its own, another worker got SIGTERM or SIGINT."""
    return KeyboardInterrupt() if signal.SIGINT in received else Terminated(143)
