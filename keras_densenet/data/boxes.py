"""Boxes of arrays of any number of dimensions, cut out and brought to a size."""

import numpy as np


def framed(array, framing, box=None):
    """A signal's or volume's box in a framing's size.

    Args:
        array: `(*sizes, channels)` of any real numbers.
        framing: a `Framing`.
        box: a function from the sizes to the box's starts and lengths; a part outside of the array is zero. Default:
            the framing's own.

    Returns:
        float32 `(*framing.size, channels)`, the values as they are.
    """
    if array.shape[-1] != framing.channels:
        raise ValueError(f"it has {array.shape[-1]} channels, not {framing.channels}")
    if framing.size is None:
        return array.astype("float32")
    dimensions, numbers = framing.dimensions, (box or framing.box)(*array.shape[:-1])
    starts = [round(start) for start in numbers[:dimensions]]
    ends = [start + max(1, round(side)) for start, side in zip(starts, numbers[dimensions:], strict=True)]
    inside = tuple(slice(max(0, start), max(0, end)) for start, end in zip(starts, ends, strict=True))
    missing = [
        (min(max(0, -start), end - start), min(max(0, end - length), end - start))
        for start, end, length in zip(starts, ends, array.shape, strict=False)
    ]
    part = np.pad(array[inside].astype("float32"), [*missing, (0, 0)])
    for axis in np.argsort([size / length for size, length in zip(framing.size, part.shape, strict=False)]):
        part = _resized(part, axis, framing.size[axis], framing.interpolation)
    return np.ascontiguousarray(part)


def _resized(array, axis, length, interpolation):
    """One axis of an array in another length, antialiased where it shrinks, by Pillow's filter of a plane's columns."""
    if array.shape[axis] == length:
        return array
    import PIL.Image

    lines = np.moveaxis(array, axis, 0)
    plane = PIL.Image.fromarray(np.ascontiguousarray(lines.reshape(lines.shape[0], -1)))
    plane = plane.resize((plane.width, length), PIL.Image.Resampling[interpolation.upper()])
    return np.moveaxis(np.asarray(plane).reshape(length, *lines.shape[1:]), 0, axis)
