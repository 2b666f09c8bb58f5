"""Shapes that may be known only when the graph runs, of signals, images and volumes."""

from typing import Any

import tensorflow as tf

from keras_densenet.types import Tensor


def sizes(x: Tensor) -> list[Any]:
    """The shape of a tensor as a list: numbers, and a scalar tensor where one is unknown."""
    if x.shape.is_fully_defined():
        return list(x.shape)
    return [real if known is None else known for known, real in zip(x.shape, tf.unstack(tf.shape(x)), strict=True)]


def pixels(x: Tensor) -> tuple[int, ...]:
    """The axes of `(batch, ..., channels)` but the last: all that a channel's numbers lie along."""
    return tuple(range(len(x.shape) - 1))


def spatial(x: Tensor) -> tuple[int, ...]:
    """The axes of `(batch, ..., channels)` between the two: one of a signal, two of an image, three of a volume."""
    return pixels(x)[1:]
