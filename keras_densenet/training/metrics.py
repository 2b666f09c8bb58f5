"""How good probabilities are, over a whole set of images: areas under curves, by label and on average."""

import numpy as np

from keras_densenet.types import Array


def per_label(truth: Array, probabilities: Array) -> dict[str, Array]:
    """Area under the ROC curve and average precision of each label, as scikit-learn computes them.

    Args:
        truth: int `(images, labels)`, 1 (there), 0 (not there) or -1 (unknown, left out); or int `(images,)`, the one
            class of each image, which is there while all others are not.
        probabilities: `(images, labels)`.

    Returns:
        A dict of float64 `(labels,)`: "auroc" and "average_precision", NaN for a label whose known images are all
        alike, and where a probability is not finite.

    Raises:
        ValueError: if the shapes do not fit.
        ImportError: without scikit-learn.

    Examples:
        >>> kd.training.metrics.per_label(np.array([[1, 0], [0, -1]]), np.array([[0.9, 0.2], [0.3, 0.6]]))
        {'auroc': array([ 1., nan]), 'average_precision': array([ 1., nan])}
    """
    scores = sklearn_metrics()
    check_shapes(truth, probabilities)
    found = np.full((2, probabilities.shape[1]), np.nan)
    for label, (there, values) in enumerate(known_of_labels(truth, probabilities)):
        if 0 < there.sum() < len(there) and np.isfinite(values).all():
            found[:, label] = scores.roc_auc_score(there, values), scores.average_precision_score(there, values)
    return {"auroc": found[0], "average_precision": found[1]}


def summary(truth: Array, probabilities: Array) -> dict[str, float]:
    """The means of `per_label` over the labels that have a number; for one class an image, "accuracy" and "top5", too.

    Args:
        truth, probabilities: as for `per_label`.

    Returns:
        A dict of floats; "auroc" and "average_precision" are NaN where no label has a number. "top5" is the share of
        the images whose class is among the five most probable.
    """
    means = {name: mean_known(values) for name, values in per_label(truth, probabilities).items()}
    return means if truth.ndim == 2 else {**accuracies(truth, probabilities), **means}


def accuracies(truth: Array, probabilities: Array) -> dict[str, float]:
    """Shares of the images whose class is the most probable, and among the five most probable; `truth` `(images,)`."""
    of_truth = np.take_along_axis(probabilities, truth[:, None], 1)
    right, within = probabilities.argmax(1) == truth, (probabilities > of_truth).sum(1) < 5
    return {"accuracy": float(right.mean()), "top5": float(within.mean())}


def reliability(truth: Array, probabilities: Array, bins: int = 15) -> Array:
    """How often answers of about the same probability are right: the points of a reliability diagram.

    Args:
        truth, probabilities: as for `per_label`. Of one class an image, the most probable class counts, and whether it
            is the image's; of many labels, every known label of every image counts, and whether it is there.
        bins: equally wide, between 0 and 1.

    Returns:
        float64 `(bins, 3)`: the number of answers, their mean probability and the share that is right; NaN in the last
        two where there are no answers.
    """
    check_shapes(truth, probabilities)
    if truth.ndim == 1:
        sure, right = probabilities.max(1), probabilities.argmax(1) == truth
    else:
        sure, right = probabilities[truth >= 0], truth[truth >= 0] == 1
    places = np.clip((sure * bins).astype(int), 0, bins - 1)
    counts, *sums = (np.bincount(places, weights, bins) for weights in (None, sure, right))
    return np.column_stack([counts, *(np.where(counts, of, np.nan) / np.maximum(counts, 1) for of in sums)])


def calibration_error(truth: Array, probabilities: Array, bins: int = 15) -> float:
    """Expected calibration error: by how much probabilities and shares of `reliability` differ, in the mean of answers.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    counts, sure, right = reliability(truth, probabilities, bins).T
    return float(np.nansum(counts * np.abs(sure - right)) / counts.sum()) if counts.any() else float("nan")


def known_of_labels(truth, probabilities):
    """For each label its known images: whether it is there, bool, and its probabilities."""
    for label in range(probabilities.shape[1]):
        if truth.ndim == 1:
            yield truth == label, probabilities[:, label]
        else:
            known = truth[:, label] >= 0
            yield truth[known, label] == 1, probabilities[known, label]


def mean_known(values):
    """The mean of the numbers that are no NaN; NaN where there are none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def check_shapes(truth, probabilities):
    """Raises ValueError where probabilities are not of the images and labels of `truth`."""
    shape = (len(truth), *probabilities.shape[1:])
    if probabilities.ndim != 2 or not len(truth) or probabilities.shape != (truth.shape if truth.ndim == 2 else shape):
        raise ValueError(
            "truth must be (images,) or (images, labels) of at least one image, and probabilities (images, labels). "
            f"Received: truth of {truth.shape}, probabilities of {probabilities.shape}"
        )


def sklearn_metrics():
    """`sklearn.metrics`; the ImportError names the extra to install."""
    try:
        from sklearn import metrics
    except ImportError:
        raise ImportError("Areas under curves need scikit-learn: pip install 'keras-densenet[cli]'") from None
    return metrics
