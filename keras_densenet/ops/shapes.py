"""Shapes that may be known only when the graph runs."""

from typing import Any

import tensorflow as tf

from keras_densenet.types import Tensor


def sizes(x: Tensor) -> list[Any]:
    """The shape of a tensor as a list: numbers, and a scalar tensor where one is unknown."""
    if x.shape.is_fully_defined():
        return list(x.shape)
    return [real if known is None else known for known, real in zip(x.shape, tf.unstack(tf.shape(x)), strict=True)]
