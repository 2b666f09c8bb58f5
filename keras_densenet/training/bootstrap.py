"""How far areas under curves could be off, had other images been drawn: bootstrap intervals."""

import numpy as np

from keras_densenet.training.metrics import check_shapes, known_of_labels
from keras_densenet.types import Array

LEVEL = 0.95
_AT_ONCE = 1 << 22  # numbers in a buffer


def intervals(
    truth: Array, probabilities: Array, groups: Array | None = None, resamples: int = 1000, seed: int = 0
) -> tuple[dict[str, Array], dict[str, tuple[float, float]]]:
    """Percentile intervals of 95 % of each label's areas under curves, and of their means.

    Args:
        truth, probabilities: as for `metrics.per_label`.
        groups: what each image belongs to, such as a patient, `(images,)`: whole groups are drawn. Default: images are.
        resamples: how many sets of as many images (or groups) are drawn, with repetitions.
        seed: of the draws.

    Returns:
        Two dicts with "auroc" and "average_precision": float64 `(labels, 2)`, the ends of each label's interval, NaN
        where `per_label` is; and the ends of the means' intervals.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """
    check_shapes(truth, probabilities)
    if groups is not None and np.shape(groups) != (len(truth),):
        raise ValueError(f"groups must be one for each of {len(truth)} images. Received: shape {np.shape(groups)}")
    drawn = _draws(len(truth), groups, resamples, seed)
    found = np.full((2, resamples, probabilities.shape[1]), np.nan)
    for label, (there, values) in enumerate(known_of_labels(truth, probabilities)):
        if 0 < there.sum() < len(there) and np.isfinite(values).all():
            known = slice(None) if truth.ndim == 1 else truth[:, label] >= 0
            found[:, :, label] = areas(there, values, drawn[known])
    names = "auroc", "average_precision"
    ends = np.array([[_ends(column) for column in of.T] for of in found])
    means = (_ends(_means(of)) for of in found)
    return dict(zip(names, ends, strict=True)), dict(zip(names, means, strict=True))


def areas(there: Array, values: Array, weights: Array) -> Array:
    """Area under the ROC curve and average precision for each column of weights of the images.

    Args:
        there: bool `(images,)`, not all alike.
        values: `(images,)`, that rank them.
        weights: int32 `(images, resamples)`, how often each is there.

    Returns:
        float64 `(2, resamples)`; NaN where a column has only images of one kind.
    """
    order = np.argsort(-values, kind="stable")
    there, values, columns = there[order], values[order], max(1, _AT_ONCE // len(values))
    starts = np.flatnonzero(np.diff(values, prepend=np.inf))  # of equal values, of which those with a positive count
    ends = np.append(starts[1:], len(values))
    counts = np.add.reduceat(there.astype(int), starts)
    starts, ends, counts = starts[counts > 0], ends[counts > 0], counts[counts > 0]
    bounds = np.unique([0, *starts, *ends[ends < len(values)]])
    cuts = bounds, np.searchsorted(bounds, starts), np.cumsum(counts) - counts
    blocks = (weights[order, start : start + columns] for start in range(0, weights.shape[1], columns))
    return np.concatenate([_areas(there, *cuts, block) for block in blocks], 1)


def _areas(there, bounds, chosen, firsts, weights):
    """`bounds` cut the images into parts of equal or of only negative values; the `chosen` ones have the positives,
    of which each begins at one of `firsts`."""
    parts, positive = np.add.reduceat(weights, bounds, 0), np.add.reduceat(weights[there], firsts, 0)
    above, found = np.cumsum(parts, 0)[chosen], np.cumsum(positive, 0, dtype="float64")
    positives = found[-1]
    negatives = weights.sum(0) - positives
    below = negatives - (above - found) + (parts[chosen] - positive) / 2  # of equal ones, half
    one_kind = (positives == 0) | (negatives == 0)
    auroc = (positive * below).sum(0) / np.where(one_kind, 1, positives * negatives)
    precision = (positive * found / np.maximum(above, 1)).sum(0) / np.where(one_kind, 1, positives)
    return np.where(one_kind, np.nan, [auroc, precision])


def _draws(count, groups, resamples, seed):
    """How often each image is in each resample, int32 `(images, resamples)`."""
    members = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    size, random = members.max() + 1, np.random.default_rng(seed)
    drawn = np.empty((size, resamples), "int32")
    for column in drawn.T:
        column[:] = np.bincount(random.integers(0, size, size), minlength=size)
    return drawn if groups is None else drawn[members]


def _ends(values):
    values = values[np.isfinite(values)]
    half = 50 * (1 - LEVEL)
    low, high = np.percentile(values, [half, 100 - half]) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def _means(values):
    """Means of the rows' numbers that are no NaN; NaN where there are none."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
