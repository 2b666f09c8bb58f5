"""Labelled files as a data set: what folders and tables of images, signals and volumes share."""

import collections
from typing import Any, NamedTuple

import numpy as np

from keras_densenet.architecture import by, image_words, sides
from keras_densenet.data.arrays import SHAPES, fits
from keras_densenet.data.check import Report, checked, look_at_all
from keras_densenet.data.images import Pictures
from keras_densenet.data.splits import Split, arrange
from keras_densenet.ops import Framing
from keras_densenet.types import Array

SIZE = (224, 224)
BANDS, LONG = 16, 8  # more bands than an image has, and how many times as long as wide a signal is at least


class Files(NamedTuple):
    """The images of a part, `pathlib.Path`s, and their labels as in `Split`."""

    paths: list
    labels: Array


class LabelledFiles(NamedTuple):
    """What a folder or a table says, before any of its files is opened.

    Args:
        files: a dict of `Files` by part.
        names: of the classes or labels.
        places: a dict from path to what to call the file when something is wrong with it.
        report: a `Report` of what was found so far.
        root: a path, by which what has been looked at is remembered.
        source: what to call the data in an error.
        groups: a dict from path to the name of what shall not be divided.
        grouped: what `groups` are.
    """

    files: dict[str, Files]
    names: list[str]
    places: dict[Any, str]
    report: Report
    root: Any
    source: str
    groups: dict[Any, str] | None = None
    grouped: str | None = None


def splits_of(listing, size, channels, seed, skip_bad, validation, dimensions, **framing):
    """Looks at all files of a `LabelledFiles`, and makes `Splits` of those that are good.

    Images of one size stay in memory if their pixels take a gigabyte at most. Others are decoded when they are needed,
    a batch at a time, so that images on disk may be many times the memory: what stays of each is its path and its
    labels, 150 bytes, and 4 kilobytes while it is looked at, so that a million images need 4 GB.

    Args:
        listing: the files.
        size: an int, or one for each dimension. None: the files' own if they all have one, otherwise of images 224x224.
        channels: 1, 3 or 4, or an array's own. None: the images' own if they all have as many, otherwise 3.
        seed, skip_bad, validation: as for `load`.
        dimensions: 1 of signals, 2 of images, 3 of volumes. None: what most of the files are.
        **framing: other arguments of `Framing`.
    """
    files, names, places, report, root, source, groups, grouped = listing
    looks = look_at_all(root, [path for part in files.values() for path in part.paths])
    dimensions = dimensions or _dimensions(looks, places, source)
    used = [look for look in looks.values() if look.good and look.may_have(dimensions)]
    found, own = {look.size(dimensions) for look in used}, [look.channels(dimensions) for look in used]
    channels = channels or _common_channels(own, dimensions)
    if used and not any(_fits(number, channels, dimensions) for number in own):
        allowed = "1, 3 or 4 for pictures, and an array's own for arrays" if dimensions == 2 else "the files' own"
        raise ValueError(f"channels must be {allowed}. Received: channels={channels}")
    good = set()
    for path, look in looks.items():
        for finding in look.findings:
            report.add(finding, places[path])
        if look.good and not look.may_have(dimensions):
            report.add(SHAPES[dimensions], f"{places[path]} of {by(look.shape)}")
        elif look.good and not _fits(look.channels(dimensions), channels, dimensions):
            report.add(f"of other than {channels} channels", f"{places[path]} has {look.channels(dimensions)}")
        elif look.good:
            good.add(path)
    size = sides(size, dimensions) if size else _common_size(found, dimensions, source)
    framing = Framing(size, channels, **framing, dimensions=dimensions)
    dtype, parts = "float32" if dimensions != 2 or any(look.deep for look in used) else "uint8", {}
    for part, (paths, labels) in files.items():
        use = [path in good for path in paths]
        paths = [path for path in paths if path in good]
        known = groups and np.array([groups[path] for path in paths], object)
        keys = np.array([str(path) for path in paths], object)
        parts[part] = Split(Pictures(keys, framing, dtype=dtype), labels[np.array(use, bool)], known)
    parts, names, notes = checked(parts, names, report, source, skip_bad)
    if found == {framing.size}:
        parts = {part: split._replace(images=split.images.settled()) for part, split in parts.items()}
    return arrange(parts, names, seed, validation, notes, framing, grouped)


def _dimensions(looks, places, source):
    """How many dimensions most files have that tell it; ValueError where there are only others."""
    good = {path: look for path, look in looks.items() if look.good}
    votes = collections.Counter(map(_likely, good.values()))
    unclear = votes.pop(None, 0)
    if votes or not unclear:
        return votes.most_common(1)[0][0] if votes else 2
    path = next(path for path, look in good.items() if _likely(look) is None)
    which, other = ("volumes, or images of many bands", 3) if len(good[path].shape) == 3 else ("signals, or images", 1)
    raise ValueError(
        f"{source} has arrays that may be {which}, such as {places[path]} of {by(good[path].shape)}: say how many "
        f"dimensions they have, --dimensions {other} or 2 (dimensions={other})"
    )


def _likely(look):
    """The dimensions of a file; None for arrays of more bands than images have, or of the shape of signals."""
    shape = look.shape
    if look.dimensions or len(shape) not in (2, 3):
        return look.dimensions or (1 if len(shape) < 2 else 3)
    is_image = shape[2] <= BANDS if len(shape) == 3 else shape[1] > BANDS or shape[0] < LONG * shape[1]
    return 2 if is_image else None


def _common_size(sizes, dimensions, source):
    if len(sizes) == 1:
        return min(sizes)
    if dimensions == 2 or not sizes:
        return SIZE if dimensions == 2 else (1,) * dimensions
    what, sizes = image_words(dimensions)[0], sorted(sizes)
    raise ValueError(
        f"{source} has {what}s of {len(sizes)} sizes, from {by(sizes[0])} to {by(sizes[-1])}: give one that all "
        f"get, such as --image-size {by(sizes[0])} (image_size={sizes[0]})"
    )


def _fits(own, channels, dimensions):
    return fits(own, channels) if dimensions == 2 else own == channels


def _common_channels(own, dimensions):
    """The channels that images get if nobody says: their own; RGB where grey and colour meet."""
    counts = collections.Counter(own)
    if dimensions == 2 and len(counts) > 1 and fits(min(counts), max(counts)):
        return 3
    return counts.most_common(1)[0][0] if counts else 3
