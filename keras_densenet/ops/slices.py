"""A batch in slices of images whose working set stays in cache: XLA compiles the loop's body once."""

import functools
import operator
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor

_NUMBERS = 2**19  # 2 MiB


def images_in_a_slice(x: Tensor) -> int | Tensor:
    """How many images of `x` to work on at a time: a divisor of the batch that suits the cache."""
    batch, *window, channels = sizes(x)
    wanted = functools.reduce(operator.mul, window, batch) // max(1, _NUMBERS // channels)
    if x.shape.is_fully_defined():
        return batch // max(count for count in range(1, batch + 1) if batch % count == 0 and count <= max(wanted, 1))
    counts = tf.range(1, batch + 1)  # constants by the time XLA compiles
    return batch // tf.reduce_max(tf.where((batch % counts == 0) & (counts <= wanted), counts, 1))


def slice_of(x: Tensor, start: Tensor | None, images: int | Tensor | None, channels: int | None = None) -> Tensor:
    """The first channels (all) of some images; `start` as `over_slices` gives it, None for all images."""
    channels = channels or x.shape[-1]
    return x[..., :channels] if start is None else tf.slice(x, start, [images, *sizes(x)[1:-1], channels])


def over_slices(
    x: Tensor, images: int | Tensor, step: Callable[..., Sequence[Tensor]], *carried: Tensor
) -> tuple[Tensor, ...]:
    """Calls `step(start, *carried)`, which returns what to carry on, for each slice of a batch.

    Args:
        x: what has a batch of images.
        images: how many of them a slice has.
        step: a function; `start` is where its slice begins, an index of as many numbers as `x` has axes.
        carried: tensors.

    Returns:
        What the last step returned.
    """
    batch, *others = sizes(x)
    if isinstance(images, int) and images == batch:  # XLA would find that out itself, once all has been traced
        return tuple(step([0] * len(x.shape), *carried))

    def turn(first, *carried):
        return first + images, *step(tf.stack([first, *[0] * len(others)]), *carried)

    return tf.while_loop(lambda first, *_: first < batch, turn, (0, *carried))[1:]
