"""A network as the paper's table 1, and the time that each of its stages takes on this machine."""

import dataclasses
import functools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.architecture import STEMS
from keras_densenet.cost import Network, architecture_of, cost
from keras_densenet.models.flat import flat, stages
from keras_densenet.types import ImageShape


class StageRow(NamedTuple):
    """One row of the paper's table 1; sizes and MACs are of one image, `share` of the time is None if not measured."""

    name: str
    height: int | None
    width: int | None
    layers: str
    in_channels: int
    out_channels: int
    parameters: int
    macs: int
    share: float | None = None


def describe(
    network: Network, input_shape: ImageShape | None = None, seconds: Sequence[float] | None = None
) -> list[StageRow]:
    """Describes a network stage by stage.

    Args:
        network: what `cost` takes: a name, a dict of `DenseNet` arguments, an `Architecture`, or a `DenseNetModel`.
        input_shape: `(height, width, channels)` of the image, for another than the network's own.
        seconds: of each stage, from `stage_seconds`; None leaves `share` out.

    Returns:
        A list with a `StageRow` for each row of the paper's table 1; what it leaves out, the normalisation before the
        classifier, is "head".

    Raises:
        ValueError: for an unknown name, or an image of unknown size.

    Source: the paper, table 1.
    """
    plan = architecture_of(network)
    if input_shape is not None:
        plan = dataclasses.replace(plan, input_shape=input_shape)
    found, rows = cost(plan), []
    found.macs  # noqa: B018 (refuses an unknown size)
    for index, part in enumerate(found.stages):
        stage = part.stage
        size, channels = (stage.height, stage.width), (stage.in_channels, stage.out_channels)
        share = None if seconds is None else seconds[index] / sum(seconds)
        layers = _layers(stage, plan)
        rows.append(StageRow(stage.name, *size, layers, *channels, part.trainable_parameters, part.macs, share))
    return rows


def stage_seconds(
    model: keras.Model, input_shape: ImageShape | None = None, batch_size: int = 8, rounds: int = 7
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


def _layers(stage, plan):
    if stage.kind == "stem":
        sizes = ", ".join(f"{size}x{size}" for size in STEMS[plan.stem])
        return f"{sizes} conv{'' if plan.stem == 'cifar' else ', stride 2'}"
    if stage.kind == "pool":
        return f"3x3 max pool{', blur' * (plan.stem_pool == 'blur')}"
    if stage.kind == "block":
        return f"{stage.layers} x ({'1x1, ' * plan.bottleneck}3x3 conv)"
    if stage.kind == "classifier":
        return "avg pool, dense"
    return _LAYERS[stage.kind]


_LAYERS = {
    "transition": "1x1 conv, avg pool",
    "head": "BN, ReLU",
}
