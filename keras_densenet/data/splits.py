"""What a data set is, and how images are held out of it."""

from typing import Any, NamedTuple

import numpy as np

from keras_densenet.data.images import Pictures
from keras_densenet.data.progress import watched
from keras_densenet.data.stratify import held
from keras_densenet.ops import Framing
from keras_densenet.types import Array

STATISTICS, VALUES = 2000, 2**25  # images that are looked at, and how many of their values at once


class Split(NamedTuple):
    """Images and their labels.

    Args:
        images: pixels in 0..255 by index: an array `(count, height, width, channels)` in memory, or `Pictures`, which
            has the same shape and is decoded when asked for. Signals have one size, volumes three, in their own range.
        labels: int32 `(count,)`, the class of each image; or of many labels int8 `(count, labels)`, 1 where an image
            has it, 0 where not, -1 where that is unknown.
        groups: what each image belongs to, such as a patient, `(count,)`; None where nobody says.

    Examples:
        >>> split = kd.data.Split(images, labels)
        >>> split.images.shape, split.labels.tolist()
        ((4, 16, 16, 3), [0, 1, 2, 0])
    """

    images: Array | Pictures
    labels: Array
    groups: Array | None = None


class Splits(NamedTuple):
    """A data set: three `Split`s, the names of its classes or labels, sentences about what was found in checking it.

    `framing` is how its files became these images; None where they came from no files. `held_out` is how images were
    divided at random, a dict for JSON: "seed"; "shares" of the training images by part; "by", the column whose groups
    stayed whole, and how many "groups" there were, None where there is no such column. It is None where the source says
    which images are for what.

    Examples:
        >>> split = kd.data.Split(images, labels)
        >>> kd.data.Splits(split, split, split, labels=["cat", "dog", "frog"]).labels
        ['cat', 'dog', 'frog']
    """

    train: Split
    validation: Split
    test: Split
    labels: list[str]
    notes: tuple[str, ...] = ()
    framing: Framing | None = None
    held_out: dict[str, Any] | None = None


def subset(split, which):
    """The `Split` of some indices."""
    images = split.images[which] if isinstance(split.images, np.ndarray) else split.images.only(which)
    return Split(images, split.labels[which], None if split.groups is None else split.groups[which])


def hold_out(split, share, seed):
    """Cuts a share of every class, or label, out of a split at random, which divides no group; see `stratify.held`.

    Returns:
        The rest and what was held out, two `Split`s.
    """
    inside = held(split.labels, share, seed, split.groups)
    return subset(split, np.flatnonzero(~inside)), subset(split, np.flatnonzero(inside))


def limited(splits, count, seed=0):
    """About so many training and test images and half as many for validation, of every class its share.

    Args:
        splits: `Splits`.
        count: of images; None for all.
        seed: of the choice.

    Raises:
        ValueError: for fewer than two for each class, or more than there are for training.
    """
    if count is None:
        return splits
    if count < 2 * len(splits.labels):
        of_each = "class" if splits.train.labels.ndim == 1 else "label"
        raise ValueError(f"images must be at least {2 * len(splits.labels)}, two of each {of_each}. Received: {count}")
    if count > len(splits.train.labels):
        raise ValueError(
            f"images must be at most {len(splits.train.labels):,}, which there are for training. Received: {count}"
        )
    parts = {}
    for name, most in (("train", count), ("validation", count // 2), ("test", count)):
        part = getattr(splits, name)
        if len(part.labels) > most:
            part = hold_out(part, most / len(part.labels), seed)[1]
        parts[name] = part
    return splits._replace(**parts)


def arrange(parts, labels, seed, validation, notes=(), framing=None, by=None):
    """Makes `Splits` of what a source has.

    Args:
        parts: a dict of `Split`s: "train", and where the source has them "validation" and "test". Without test images,
            validation images are for the test; without both, a fifth of the training images is.
        labels: names of the classes.
        seed: of what is held out.
        validation: share of the training images held out where no validation images are left; 0 validates on the test
            images.
        notes, framing: for `Splits`.
        by: the name of what the images' groups are.
    """
    if not 0 <= validation < 1:
        raise ValueError(f"validation must be in [0, 1). Received: validation={validation}")
    train, parts, shares = parts["train"], dict(parts), {}
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts.pop("validation")
    if "test" not in parts:
        shares["test"] = 0.2
    if "validation" not in parts and validation:
        shares["validation"] = validation
    number = None if train.groups is None else len(np.unique(train.groups))
    for name, share in shares.items():
        train, parts[name] = hold_out(train, share, seed)
        if not len(parts[name].labels):
            what = "images" if by is None else f"values of {by!r}, which are not divided,"
            raise ValueError(
                f"There are too few {what} to hold some out for {name} and keep every class and label for training: "
                f"give more, or say which images are for {name}"
            )
    held_out = {"seed": seed, "shares": shares, "by": by, "groups": number} if shares else None
    validated = parts.get("validation", parts["test"])
    return Splits(train, validated, parts["test"], list(labels), tuple(notes), framing, held_out)


def mean_and_std(split: Split) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel, for a network's normalisation.

    Args:
        split: the training `Split`. Of `Pictures`, 2,000 that are evenly spread are looked at, of volumes 200.

    Returns:
        Two float32 arrays `(channels,)`, in the pixels' own range.

    Examples:
        >>> mean, std = kd.data.mean_and_std(splits.train)
        >>> mean.shape
        (3,)
    """
    count = len(split.labels)
    exact = isinstance(split.images, np.ndarray)
    *sizes, _ = split.images.shape[1:]
    at_once = max(1, min(500, VALUES // int(np.prod(sizes))))
    most = STATISTICS if len(sizes) < 3 else STATISTICS // 10
    which = np.arange(count) if exact else np.linspace(0, count - 1, min(count, most)).astype(int)
    parts = [which[start : start + at_once] for start in range(0, len(which), at_once)]
    total = squares = 0.0
    for part in parts if exact else watched(parts, "measuring", len(parts)):
        pixels = split.images[part].astype("float64").reshape(-1, split.images.shape[-1])
        total, squares = total + pixels.sum(0), squares + np.square(pixels).sum(0)
    pixels = len(which) * np.prod(sizes)
    mean = total / pixels
    return mean.astype("float32"), np.sqrt(np.maximum(squares / pixels - np.square(mean), 0)).astype("float32")
