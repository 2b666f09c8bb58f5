"""The time that each stage of a network takes on this machine."""

import functools
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.cost import architecture_of
from keras_densenet.models.flat import flat, stages
from keras_densenet.types import InputShape


def stage_seconds(
    model: keras.Model, input_shape: InputShape | None = None, batch_size: int = 8, rounds: int = 7
) -> list[float]:
    """Measures how long each stage takes in inference, compiled on its own, without XLA.

    Args:
        model: a `keras.Model` with a DenseNet of this package; what stands before its stem is left out.
        input_shape: `(height, width, channels)` of the image. Default: the stem's.
        batch_size: images.
        rounds: timed calls of each stage, in turns; the median counts.

    Returns:
        A list of seconds, one for each row of `describe`.

    Raises:
        ValueError: for an image of unknown size.

    Examples:
        >>> seconds = kd.explain.stage_seconds(model, batch_size=1, rounds=1)
        >>> len(seconds) == len(kd.explain.describe(model, seconds=seconds))
        True
    """
    network = flat(model)
    shape: tuple = architecture_of(network).input_shape if input_shape is None else tuple(input_shape)
    parts = stages(network)
    if network.architecture.classes is not None:
        parts.append(keras.Model(network.pyramid_outputs[[*network.pyramid_outputs][-1]], network.output))
    if None in shape:
        raise ValueError(
            f"The time depends on the image size, which is unknown: give input_shape (--image-size). Received: {shape}"
        )
    x, steps = tf.constant(np.random.default_rng(0).normal(size=(batch_size, *shape)), network.compute_dtype), []
    for part in parts:
        run = tf.function(functools.partial(part, training=False), autograph=False).get_concrete_function(x)
        steps.append((run, x))
        x = run(x)
    seconds = [[_timed(run, x) for run, x in steps] for _ in range(rounds)]
    return [statistics.median(times) for times in zip(*seconds, strict=True)]


def _timed(run, x):
    started = time.perf_counter()
    run(x).numpy()
    return time.perf_counter() - started
