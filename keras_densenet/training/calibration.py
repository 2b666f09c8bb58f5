"""Numbers one can act on: a temperature that makes probabilities honest, and from which on a label is there."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_densenet.data import Split
from keras_densenet.files import write_json, written_beside
from keras_densenet.models import Decisions, DenseNetModel
from keras_densenet.models.flat import logits_of, opened
from keras_densenet.models.graph import Network
from keras_densenet.training.curves import draw_reliability
from keras_densenet.training.evaluation import Evaluation, answers, check_fits
from keras_densenet.training.metrics import known_of_labels, reliability
from keras_densenet.training.prediction import predictor
from keras_densenet.types import Array, Path

_RANGE = 0.01, 100.0  # of temperatures


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """What `calibrate` decided, and how good answers were before and after, on the images that it was made with.

    Args:
        decisions: the model's from now on.
        before, after: an `Evaluation` without and with the temperature.

    Examples:
        >>> found = kd.training.calibrate(model, splits.validation)
        >>> found.before.top1 == found.after.top1
        True
    """

    decisions: Decisions
    before: Evaluation
    after: Evaluation

    def write(self, folder: Path) -> None:
        """Writes `calibration.json` and `calibration.png`, the reliability diagrams before and after."""
        folder, both = pathlib.Path(folder), {"before": self.before, "after": self.after}
        state: dict[str, Any] = {"images": len(self.after.truth), "temperature": self.decisions.temperature}
        for name in ("calibration_error", "loss", "top1"):
            if name in self.before.figures:
                state[name] = {when: evaluation.figures[name] for when, evaluation in both.items()}
        if self.after.many:
            kept = "label", "known", "images", "threshold", "sensitivity", "specificity", "precision"
            state |= {"rule": self.decisions.rule}
            state["labels"] = [{name: _plain(row[name]) for name in kept} for row in self.after.table]
        write_json(folder / "calibration.json", state)
        diagrams = {
            when: (reliability(found.truth, found.probabilities), found.figures["calibration_error"])
            for when, found in both.items()
        }
        with written_beside(folder / "calibration.png") as path:
            draw_reliability(diagrams, path)


def calibrate(
    model: DenseNetModel,
    split: Split,
    thresholds: str | None = None,
    labels: Sequence[str] | None = None,
    batch_size: int = 64,
    track: Callable[[tf.data.Dataset], Iterable[Any]] = lambda batches: batches,
) -> Calibration:
    """Fits a temperature to images that were not trained on, and chooses the thresholds of many labels on them.

    The logits are divided by the temperature of highest likelihood (softmax and sigmoids alike), which changes no
    order and no accuracy. A label's threshold lies halfway between two probabilities (after the temperature) of the
    images. The model keeps both, as its `decisions`, and they are saved with it.

    Args:
        model: a `DenseNetModel` that ends in softmax or sigmoid, from pixels in 0..255, as `load_model` gives it.
        split: validation images, a `Split`; unknown labels are left out.
        thresholds: of many labels, "f1" for the highest F1, "sensitivity=0.9" for the highest threshold that finds so
            large a share of what is there, or "specificity=0.9" for the lowest that calls so large a share of what is
            not there absent. Default: "f1". A label without such images gets none.
        labels: names for the figures. Default: the model's, or their numbers.
        batch_size: images in a batch.
        track: wraps the batches, to show progress.

    Returns:
        A `Calibration`.

    Raises:
        ValueError: for another model or rule, or images that are not the network's.
        ImportError: without scikit-learn, which brings SciPy.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    Examples:
        >>> found = kd.training.calibrate(model, splits.validation)
        >>> found.decisions == model.decisions, model.decisions.temperature > 0
        (True, True)
    """
    scores, kind = _ending(model)
    many = split.labels.ndim == 2
    if many:
        thresholds = thresholds or "f1"
        rule = _rule(thresholds)
    elif thresholds:
        raise ValueError(
            "thresholds must be left out where an image has one class, which is the most probable one. "
            f"Received: thresholds={thresholds!r}"
        )
    labels = labels or model.labels or [str(index) for index in range(model.output_shape[-1])]
    check_fits(model, split, labels)
    logits = answers(predictor(scores), split, batch_size, track).astype("float64")
    if not np.isfinite(logits).all():
        raise ValueError(f"The network's answers must be finite numbers to be calibrated. Received: {model.name!r}")
    temperature = fit_temperature(split.labels, logits, kind)
    before, after = (_probabilities(logits, kind, of) for of in (1.0, temperature))
    limits = tuple(threshold(*known, *rule) for known in known_of_labels(split.labels, after)) if many else None
    evaluations = [
        Evaluation(list(labels), split.labels, found, limits or (), resamples=0) for found in (before, after)
    ]
    errors = tuple(evaluation.figures["calibration_error"] for evaluation in evaluations)
    known = errors if np.isfinite(errors).all() else None
    model.decisions = Decisions(limits, temperature, thresholds, known)
    return Calibration(model.decisions, *evaluations)


def fit_temperature(truth: Array, logits: Array, kind: str = "softmax") -> float:
    """The temperature of highest likelihood.

    Args:
        truth: int `(images,)`, or `(images, labels)` with -1 for unknown.
        logits: `(images, labels)`.
        kind: what makes probabilities of logits, "softmax" or "sigmoid".

    Returns:
        A float between 0.01 and 100; 1 where the likelihood has no maximum there, as where no answer is wrong.
    """
    scipy = _scipy()
    if kind == "softmax":
        of_truth = np.take_along_axis(logits, truth[:, None], 1)[:, 0]

        def loss(inverse):
            return (scipy.special.logsumexp(logits * inverse, 1) - of_truth * inverse).mean()
    else:
        values, there = logits[truth >= 0], truth[truth >= 0]
        if not len(values):
            return 1.0

        def loss(inverse):
            return (np.logaddexp(0, values * inverse) - there * values * inverse).mean()

    found = scipy.optimize.minimize_scalar(lambda log: loss(np.exp(-log)), bounds=np.log(_RANGE), method="bounded")
    others = min(loss(1 / temperature) for temperature in (1.0, *_RANGE))
    return float(np.exp(found.x)) if found.fun < others - 1e-12 else 1.0


def threshold(there: Array, values: Array, rule: str, share: float = 1.0) -> float | None:
    """The probability from which on a label is there, by a rule; None where there are no images that it is told from.

    Args:
        there: bool `(images,)`.
        values: `(images,)`, the label's probabilities.
        rule: "f1", "sensitivity" or "specificity".
        share: how much of the last two there shall be.
    """
    positives, negatives = there.sum(), (~there).sum()
    if not (negatives if rule == "specificity" else positives):
        return None
    order = np.argsort(-values, kind="stable")
    there, values = there[order], values[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # of equal values
    found, called = np.append(0, np.cumsum(there)[last]), np.append(0, last + 1)  # from no image on to all of them
    if rule == "f1":
        place = np.argmax(2 * found / (called + positives))
    elif rule == "sensitivity":
        place = np.argmax(found >= share * positives - 1e-9)
    else:
        place = np.flatnonzero(called - found <= (1 - share) * negatives + 1e-9)[-1]
    upper, lower = [1 + 1e-6, *values[last]][place], [*values[last], 0.0][place]
    middle = float(np.float32((upper + lower) / 2))
    return middle if middle > lower else float(upper)


def _ending(model):
    """The network up to its logits, and the name of what makes probabilities of them."""
    if not isinstance(model, DenseNetModel):
        raise ValueError(
            "calibrate takes a DenseNetModel, which keeps what is decided; keras_densenet.explain.flat makes one of "
            f"any model with a DenseNet in it. Received: {type(model).__name__} {model.name!r}"
        )
    network = opened(model)
    scores, _, kind = logits_of(network)
    return Network(network.inputs, scores), kind


def _rule(text):
    """`("sensitivity", 0.9)` of "sensitivity=0.9"."""
    found = re.fullmatch(r"(f1)|(sensitivity|specificity)=(\d*\.?\d+)", text)
    if not found or not (found[1] or 0 < float(found[3]) <= 1):
        raise ValueError(
            "thresholds must be f1, or sensitivity or specificity with a share in (0, 1], such as sensitivity=0.9. "
            f"Received: thresholds={text!r}"
        )
    return (found[1],) if found[1] else (found[2], float(found[3]))


def _probabilities(logits, kind, temperature):
    special = _scipy().special
    logits = logits / temperature
    return (special.softmax(logits, 1) if kind == "softmax" else special.expit(logits)).astype("float32")


def _scipy():
    try:
        import scipy.optimize
        import scipy.special
    except ImportError:
        raise ImportError("Calibration needs SciPy: pip install 'keras-densenet[cli]'") from None
    return scipy


def _plain(value):
    return value.item() if isinstance(value, np.generic) else value
