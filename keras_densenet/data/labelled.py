"""Labelled image files as a data set: what folders and tables share."""

import collections
from typing import NamedTuple

import numpy as np

from keras_densenet.data.arrays import fits
from keras_densenet.data.check import checked, look_at_all
from keras_densenet.data.images import Pictures
from keras_densenet.data.splits import Split, arrange
from keras_densenet.ops import Framing
from keras_densenet.types import Array

SIZE = (224, 224)


class Files(NamedTuple):
    """The images of a part, `pathlib.Path`s, and their labels as in `Split`."""

    paths: list
    labels: Array


def splits_of(
    files,
    names,
    places,
    report,
    root,
    source,
    size=None,
    channels=None,
    seed=0,
    skip_bad=False,
    validation=0.1,
    groups=None,
    by=None,
    **framing,
):
    """Looks at all files, and makes `Splits` of those that are good.

    Images of one size stay in memory if their pixels take a gigabyte at most. Others are decoded when they are needed,
    a batch at a time, so that images on disk may be many times the memory: what stays of each is its path and its
    labels, 150 bytes, and 4 kilobytes while it is looked at, so that a million images need 4 GB.

    Args:
        files: a dict of `Files` by part.
        names: of the classes or labels.
        places: a dict from path to what to call the file when something is wrong with it.
        report: a `Report` of what was found so far.
        root: a path, by which what has been looked at is remembered.
        source: what to call the data in an error.
        size: `(height, width)`. Default: the images' own if they all have one, otherwise 224x224.
        channels: 1, 3 or 4, or an array's bands. Default: the images' own if they all have as many, otherwise 3.
        seed: of what is held out.
        skip_bad: whether to go on without what is bad.
        validation: share of the training images to hold out if no others are for it.
        groups: a dict from path to the name of what shall not be divided.
        by: what `groups` are.
        **framing: other arguments of `Framing`.
    """
    looks = look_at_all(root, [path for part in files.values() for path in part.paths])
    used = [look for look in looks.values() if look.good]
    sizes = {(look.height, look.width) for look in used}
    channels = channels or _common_channels(used)
    if used and not any(fits(look.channels, channels) for look in used):
        raise ValueError(
            f"channels must be 1, 3 or 4 for pictures, and an array's own for arrays. Received: channels={channels}"
        )
    for path, look in looks.items():
        for finding in look.findings:
            report.add(finding, places[path])
        if look.good and not fits(look.channels, channels):
            report.add(f"of other than {channels} channels", f"{places[path]} has {look.channels}")
    framing = Framing(size or (min(sizes) if len(sizes) == 1 else SIZE), channels, **framing)
    dtype, parts = "float32" if any(look.deep for look in used) else "uint8", {}
    for part, (paths, labels) in files.items():
        good = [looks[path].good and fits(looks[path].channels, channels) for path in paths]
        keys = np.array([str(path) for path, use in zip(paths, good, strict=True) if use], object)
        known = groups and np.array([groups[path] for path, use in zip(paths, good, strict=True) if use])
        parts[part] = Split(Pictures(keys, framing, dtype=dtype), labels[np.array(good, bool)], known)
    parts, names, notes = checked(parts, names, report, source, skip_bad)
    if sizes == {framing.size}:
        parts = {part: split._replace(images=split.images.settled()) for part, split in parts.items()}
    return arrange(parts, names, seed, validation, notes, framing, by)


def _common_channels(looks):
    """The channels that images get if nobody says: their own; RGB where grey and colour meet."""
    counts = collections.Counter(look.channels for look in looks)
    if len(counts) > 1 and fits(min(counts), max(counts)):
        return 3
    return counts.most_common(1)[0][0] if counts else 3
