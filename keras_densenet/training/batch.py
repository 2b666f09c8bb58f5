"""The largest batch that the memory holds."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_densenet import memory
from keras_densenet.cost import cost
from keras_densenet.data import Splits
from keras_densenet.training.recipe import Recipe
from keras_densenet.training.run import train

SHARE = 0.9  # of the memory: what is not a step's needs some, too


def largest_batch_size(
    network: Mapping[str, Any],
    splits: Splits,
    recipe: Recipe,
    strategy: tf.distribute.Strategy | None = None,
    available: int | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
    **options: Any,
) -> int:
    """Finds the largest batch, a power of two for each device, that a network can be trained with.

    The largest that fits by the closed form of `cost` is tried by a run's first step; where that runs out of memory,
    half of it is.

    Args:
        network: a dict of `DenseNet` arguments without input, classes and dropout.
        splits: the data, `Splits`.
        recipe: a `Recipe`; its `accumulate` parts of a batch pass one after the other.
        strategy: what `make_strategy` gave. Default: one device.
        available: bytes of memory of each device. Default: the GPU's, without one what is free.
        track: wraps the batch sizes that are tried, to show progress.
        **options: further arguments of `train` that the run will have.

    Returns:
        Images in an update of all devices together, at most as many as there are for training.

    Raises:
        ValueError: if not even one image for each device fits.

    Examples:
        >>> network, recipe = {"blocks": (1, 1), "growth_rate": 4}, kd.training.Recipe(xla=False)
        >>> size = kd.training.largest_batch_size(network, splits, recipe, available=10**8)  # of 24 images
        >>> recipe.changed(batch_size=size).batch_size
        16
    """
    strategy = strategy or tf.distribute.get_strategy()
    parts, images = strategy.num_replicas_in_sync * recipe.accumulate, len(splits.train.labels)
    limit = int(SHARE * (memory.available() if available is None else available))
    shape = tuple(splits.train.images.shape[1:])
    counted = cost({**network, "input_shape": shape, "classes": len(splits.labels), "dropout_rate": recipe.dropout})
    dtype, copies = recipe.mixed_precision.removeprefix("mixed_"), 3 + (recipe.ema > 0) + (recipe.accumulate > 1)
    sizes = [2**power for power in range((images // parts).bit_length())]
    fitting = [size * parts for size in sizes if counted.training_bytes(size, dtype, copies) <= limit]
    for size in track(fitting[::-1]):
        if _trains(network, splits, recipe.changed(batch_size=size), strategy, options):
            return size
    raise ValueError(
        f"There is no batch_size for {images:,} training images, {parts} at a time at least, with {limit:,} bytes of "
        f"memory: one takes {counted.training_bytes(1, dtype, copies):,}. Give a smaller network or smaller images"
    )


class _Done(Exception):
    """The first step was taken."""


class _OneStep(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        self.model.optimizer.iterations.numpy()  # waits for the device
        raise _Done


def _trains(network, splits, recipe, strategy, options):
    with memory.given_back(), tempfile.TemporaryDirectory() as folder:
        try:
            train(network, "a trial", splits, recipe, folder, [_OneStep()], strategy, **options)
        except _Done:
            return True
        except tf.errors.ResourceExhaustedError:
            pass
    return False
