"""A batch in slices of images whose working set stays in cache: XLA compiles the loop's body once."""

import functools
import operator
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_densenet.ops.shapes import sizes
from keras_densenet.types import Tensor

_NUMBERS = 2**19  # 2 MiB
_FEWEST = 4  # slices: the loop over fewer takes longer to trace and to compile, and saves neither time nor memory


def images_in_a_slice(x: Tensor) -> int | Tensor | None:
    """How many images of `x` to work on at a time: a divisor of the batch that suits the cache.

    None for the whole batch, without a loop, where that is certain while tracing.
    """
    batch, *window, channels = sizes(x)
    wanted = functools.reduce(operator.mul, window, batch) // max(1, _NUMBERS // channels)
    if x.shape.is_fully_defined():
        counts = [count for count in range(2, batch + 1) if batch % count == 0 and count <= wanted]
        return batch // counts[-1] if counts and wanted >= _FEWEST else None
    counts = tf.range(1, batch + 1)  # constants by the time XLA compiles
    useful = (batch % counts == 0) & (counts <= wanted) & (wanted >= _FEWEST)
    return batch // tf.reduce_max(tf.where(useful, counts, 1))


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
        images: how many of them a slice has, not all where that is certain while tracing.
        step: a function; `start` is where its slice begins, an index of as many numbers as `x` has axes.
        carried: tensors.

    Returns:
        What the last step returned.
    """
    batch, *others = sizes(x)

    def turn(first, *carried):
        return first + images, *step(tf.stack([first, *[0] * len(others)]), *carried)

    return tf.while_loop(lambda first, *_: first < batch, turn, (0, *carried))[1:]
