"""What only XLA has, each behind a function that also works without it."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from keras_densenet.compat.tensorflow import dynamic_update_slice, is_compiling, optimization_barrier
from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor


def barrier(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Passes tensors through unchanged, and keeps XLA from merging what follows with what came before."""
    return optimization_barrier(tensors) if is_compiling() else list(tensors)


def after(tensor: Tensor, value: Tensor) -> Tensor:
    """Passes `value` `(channels,)` through unchanged, and has XLA compute what follows from it after `tensor`.

    Barriers are gone by the time XLA merges equal expressions for the last time and puts all in order: what the
    backward pass computes again would be computed early, or not again, and kept. A dependence on data stays.
    """
    if not is_compiling():
        return value
    return value + tf.cast(tf.minimum(tf.square(tf.reshape(tensor, [-1])[0]), 0), value.dtype)


def put_in_place(buffer: Tensor, start: Any, part: Tensor) -> Tensor:
    """Puts `part` into `buffer` from `start` on, in place where `buffer` is not used any more; XLA only."""
    return dynamic_update_slice(buffer, part, start)


def add_in_place(buffer: Tensor, start: Any, part: Tensor) -> Tensor:
    """Adds `part` to what lies in `buffer` from `start` on, as `put_in_place`."""
    return put_in_place(buffer, start, tf.slice(buffer, start, sizes(part)) + part)


def with_room(x: Tensor, channels: int) -> Tensor:
    """`x` as the first of so many channels, of which the rest are for `append` to fill; as it is without XLA."""
    return tf.pad(x, [[0, 0]] * 3 + [[0, channels - x.shape[-1]]]) if is_compiling() else x


def append(x: Tensor, filled: int, part: Tensor) -> Tensor:
    """Puts `part` behind the channels of `x` that are filled: in place with XLA, else side by side."""
    return put_in_place(x, [0, 0, 0, filled], part) if is_compiling() else tf.concat([x, part], -1)
