"""Which images to hold out: a share of every class or label, and no group in part."""

import numpy as np


def held(labels, share, seed, groups=None):
    """Chooses images at random, of each class its share.

    Of a class with two images or more (in two groups or more) at least one is held, and one is not; of many labels the
    same holds for images that have a label, and for images that have it not where those are fewer.

    Args:
        labels: of a `Split`.
        share: of the images.
        seed: an int.
        groups: what no two of `held` and rest may have in common, `(count,)`. Default: every image by itself.

    Returns:
        bool `(count,)`.
    """
    random, count = np.random.default_rng(seed), len(labels)
    if groups is not None or labels.ndim == 2:
        which = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
        return _held_groups(*_counts(labels, which), share, random)[which]
    inside = np.zeros(count, bool)
    for members in map(random.permutation, by_class(labels)):
        inside[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = True
    return inside


def by_class(labels):
    """The indices of each class that there is, a list of arrays."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(labels) else []


def _counts(labels, which):
    """Groups, columns and how many images of the group are in the column; the last column has all images."""
    if labels.ndim == 1:
        rows, columns = np.arange(len(labels)), labels.astype("int64")
        width = int(labels.max(initial=0)) + 1
    else:
        width = labels.shape[1]
        fewer = np.flatnonzero((labels == 0).sum(0) < (labels == 1).sum(0))
        ones, zeros = np.nonzero(labels == 1), np.nonzero(labels[:, fewer] == 0)
        rows, columns = np.concatenate([ones[0], zeros[0]]), np.concatenate([ones[1], width + fewer[zeros[1]]])
        width *= 2
    rows = np.concatenate([rows, np.arange(len(labels))])
    columns = np.concatenate([columns, np.full(len(labels), width)])
    pairs, counts = np.unique(which[rows] * (width + 1) + columns, return_counts=True)
    return pairs // (width + 1), pairs % (width + 1), counts


def _held_groups(groups, columns, counts, share, random):
    """The rarest column first, groups in random order are held as long as that brings the column nearer to its share.

    Source: "On the stratification of multi-label data" (Sechidis et al., 2011), here for whole groups.
    """
    number, width = groups[-1] + 1, columns.max() + 1
    left = np.bincount(columns, minlength=width)  # groups of a column that are not held
    gap = share * np.bincount(columns, counts, width)  # images of a column that are still to be held
    empty, decided, chosen = np.ones(width, bool), np.zeros(number, bool), np.zeros(number, bool)
    starts = np.searchsorted(groups, np.arange(number + 1))
    by_column = np.lexsort((random.permutation(number)[groups], columns))
    ends = np.searchsorted(columns[by_column], np.arange(width + 1))

    def may_be_held(group):
        return not chosen[group] and (left[columns[starts[group] : starts[group + 1]]] > 1).all()

    def hold(group):
        mine = slice(starts[group], starts[group + 1])
        chosen[group], empty[columns[mine]] = True, False
        left[columns[mine]] -= 1
        gap[columns[mine]] -= counts[mine]

    for column in np.argsort(left, kind="stable"):
        pairs = by_column[ends[column] : ends[column + 1]]
        for pair in pairs[~decided[groups[pairs]]]:
            if counts[pair] < 2 * gap[column] and may_be_held(groups[pair]):
                hold(groups[pair])
        decided[groups[pairs]] = True
        if empty[column]:
            for pair in pairs[np.argsort(counts[pairs], kind="stable")]:
                if may_be_held(groups[pair]):
                    hold(groups[pair])
                    break
    return chosen
