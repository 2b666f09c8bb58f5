"""The ImageNet stems' pools and the transitions' average pool."""

import functools
import itertools

import numpy as np
import tensorflow as tf

from keras_densenet.ops.forms import forms, passes
from keras_densenet.ops.normalization import wide
from keras_densenet.ops.shapes import sizes, spatial
from keras_densenet.ops.volumes import of_planes
from keras_densenet.types import Tensor


def stem_pool(x: Tensor, stride: int = 2) -> Tensor:
    """3x3 max-pool (3 of a signal, 3x3x3 of a volume) with one pixel of padding on every side, as in torch.

    Args:
        x: `(batch, ..., channels)`, not negative (it comes from a ReLU), so zero padding never wins.
        stride: 2, or 1 for a `blur` to follow.

    Returns:
        `(batch, ..., channels)`, of every size ceil(size / stride).

    Examples:
        >>> kd.ops.stem_pool(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    padded = _framed(x)
    if len(x.shape) < 5:
        return tf.nn.max_pool(padded, 3, stride, "VALID")
    depth, planes = sizes(x)[1], of_planes(lambda planes: tf.nn.max_pool(planes, 3, stride, "VALID"), padded)
    first, *others = (planes[:, i : i + depth : stride] for i in range(3))
    return functools.reduce(tf.maximum, others, first)


def stem_pool_in_training(x: Tensor, stride: int = 2) -> Tensor:
    """`stem_pool` with a gradient that keeps where each maximum stood, one byte, instead of `x`.

    Examples:
        >>> kd.ops.stem_pool_in_training(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """

    @tf.custom_gradient
    def run(x):
        forward, backward = passes(_pool, _spread)
        y, origin = forward(x, stride)
        own = (slice(None), *map(slice, sizes(x)[1:-1]))
        return y, lambda upstream: backward(upstream, origin, stride)[own]

    return run(x)


def _pool(x, stride):
    """-> (the pool, where in its window each maximum stood)."""
    ends = [(size + stride - 1) // stride * stride for size in sizes(x)[1:-1]]
    padded = _framed(x)
    y: Tensor = None
    origin: Tensor = None
    for number, place in enumerate(itertools.product(range(3), repeat=len(ends))):
        element = padded[(slice(None), *(slice(i, i + end, stride) for i, end in zip(place, ends, strict=True)))]
        if y is None:
            y, origin = element, tf.zeros_like(element, tf.uint8)
        else:
            origin = tf.where(element > y, tf.constant(number, tf.uint8), origin)
            y = tf.maximum(element, y)
    return y, origin


def _spread(upstream, origin, stride):
    return _SPREAD[stride](upstream, origin)


def _spread_by_1(upstream, origin):
    """Row a is row i of window a + 1 - i. So are columns."""
    upstream, origin = _framed(upstream), _framed(origin)
    ends, found = sizes(origin)[1:-1], 0
    for number, place in enumerate(itertools.product(range(3), repeat=len(ends))):
        window = (slice(None), *(slice(2 - i, end - i) for i, end in zip(place, ends, strict=True)))
        found += tf.where(origin[window] == number, upstream[window], 0)
    return found


def _spread_by_2(upstream, origin):
    """Row 2a is row 1 of window a; row 2a + 1 is row 2 of window a and row 0 of window a + 1. So are columns."""
    if len(origin.shape) == 5:
        return _spread_planes_by_2(upstream, origin)
    batch, *windows, channels = sizes(origin)
    rank, found = len(windows), 0
    pairs = (slice(None), *[slice(None), None] * rank)  # both rows of each window have an axis of their own
    for steps in itertools.product(range(2), repeat=rank):
        part = (slice(None), *(slice(step, None) for step in steps))
        frame = [[0, 0], *([0, step] for step in steps), [0, 0]]
        shifted, spread = (tf.pad(t[part], frame)[pairs] for t in (origin, upstream))
        found += tf.where(shifted == _place(steps), spread, 0)
    return tf.reshape(found, (batch, *(2 * count for count in windows), channels))


def _spread_planes_by_2(upstream, origin):
    """The same of a volume: plane 2a is plane 1 of window a, plane 2a + 1 is plane 2 of it and plane 0 of the next."""
    batch, depth, height, width, channels = sizes(origin)

    def plane(number):
        own = tf.where(origin // 9 == number, origin % 9, 255)  # of no window
        return of_planes(_spread_by_2, upstream, own)

    next_first = tf.pad(plane(0)[:, 1:], [[0, 0], [0, 1], [0, 0], [0, 0], [0, 0]])
    found = tf.stack([plane(1), plane(2) + next_first], 2)
    return tf.reshape(found, (batch, 2 * depth, 2 * height, 2 * width, channels))


def _place(steps):
    """The numbers in their windows that `_spread_by_2` looks for, of both rows (and columns) of each window."""
    numbers, of_none = np.zeros((), int), 3 ** len(steps)
    for step in steps:
        numbers = np.add.outer(3 * numbers, [of_none, 0] if step else [1, 2])
    return numbers.reshape([2, 1] * len(steps)).astype("uint8")


_SPREAD = {1: _spread_by_1, 2: _spread_by_2}


def blur(x: Tensor) -> Tensor:
    """Binomial filter, [1, 2, 1] / 4 along each axis, of stride 2 over an image mirrored at its edges.

    Args:
        x: `(batch, ..., channels)`, every size at least 2.

    Returns:
        `(batch, ..., channels)`, of every size ceil(size / 2).

    Examples:
        >>> kd.ops.blur(tf.ones((1, 8, 8, 3))).shape
        TensorShape([1, 4, 4, 3])
    """
    for axis in spatial(x):  # TensorFlow's own padding refuses an empty batch
        x = tf.concat([_along(x, axis, 1, 2), x, _along(x, axis, -2, -1)], axis)
    for axis in spatial(x):
        x = (_along(x, axis, None, -2, 2) + 2 * _along(x, axis, 1, -1, 2) + _along(x, axis, 2, None, 2)) / 4
    return x


def _along(x, axis, *limits):
    return x[(*[slice(None)] * axis, slice(*limits))]


def _framed(x):
    return tf.pad(x, [[0, 0], *[[1, 1]] * len(spatial(x)), [0, 0]])


@tf.custom_gradient
def average_pool(x: Tensor) -> Tensor:
    """2x2 average pool (2, 2x2x2) of stride 2; an odd last row or column is left out.

    Args:
        x: `(batch, ..., channels)`.

    Returns:
        `(batch, ..., channels)`, of every size size // 2.
    """
    rests = [size - 2 * (size // 2) for size in sizes(x)[1:-1]]

    def gradient(upstream):
        spread = upstream / 2 ** len(rests)
        for axis in spatial(x):
            spread = tf.repeat(spread, 2, axis)
        return tf.pad(spread, [[0, 0], *([0, rest] for rest in rests), [0, 0]])

    return tf.cast(forms().average_pool(wide(x)), x.dtype), gradient
