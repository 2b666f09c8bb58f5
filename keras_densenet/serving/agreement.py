"""Serving in 16 bits: what of a network's answers in float32 has to stay."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_densenet.models.decisions import limits
from keras_densenet.serving.samples import random_pixels, samples_for

PRECISIONS = ("bfloat16", "float16", "float32")
NARROW = PRECISIONS[:2]
LEAST_AGREEMENT, LARGEST_DIFFERENCE = 0.95, 0.1
_TIE = 0.01  # a class so near to the highest one is as good


class Agreement(NamedTuple):
    """How probabilities in 16 bits stand to those in float32.

    Args:
        images: how many were compared.
        decisions: the share that is the same: of images, the class of highest probability; of many labels, of images
            and labels, whether the probability reaches the label's threshold. What float32 decides by less than 0.01
            counts as the same.
        difference: the largest one of two probabilities.
    """

    images: int
    decisions: float
    difference: float

    @classmethod
    def of(cls, found: Any, expected: Any, thresholds: Sequence[float | None] | None = None) -> "Agreement":
        """Compares `found` with `expected`, both `(images, classes)`; of many labels with the thresholds of each."""
        if thresholds is None:
            chosen = np.take_along_axis(expected, found.argmax(-1)[:, None], -1)[:, 0]
            same = chosen >= expected.max(-1) - _TIE
        else:
            least = limits(thresholds)
            same = ((found >= least) == (expected >= least)) | (np.abs(expected - least) <= _TIE)
        return cls(len(found), float(same.mean()), float(np.abs(found - expected).max()))

    def check(self, precision: str) -> None:
        """Raises ValueError below 95 % of the decisions, or where probabilities differ by more than 0.1."""
        if not (self.decisions >= LEAST_AGREEMENT and self.difference <= LARGEST_DIFFERENCE):  # also of NaN
            raise ValueError(
                f"In {precision}, {self.decisions:.1%} of the decisions on {self.images} images are those of float32 "
                f"and probabilities differ by up to {self.difference:.3f}; at least {LEAST_AGREEMENT:.0%} and at most "
                f"{LARGEST_DIFFERENCE} are needed: give another precision"
            )


def check_precision(precision: str | None, folded: bool) -> None:
    """Raises ValueError for a precision that is none, or is not for the folded form."""
    if precision not in (None, *PRECISIONS):
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}. Received: precision={precision!r}")
    if precision and not folded:
        raise ValueError(f"precision is for the folded form. Received: precision={precision!r}, folded=False")


def measured(served: Any, images: Any = None) -> Agreement:
    """The `Agreement` of a `Served` with Keras in float32.

    Args:
        served: a `Served`.
        images: raw images `(images, height, width, channels)`. Default: a few made pictures, which are no substitute.
    """
    if images is not None:
        batches = [images[start : start + 32] for start in range(0, len(images), 32)]
    else:
        batches = samples_for(served)[1] or [random_pixels(served, 9)]
    serve, answers = served.signatures["serving_default"], served.answers_of_keras
    batches = [np.asarray(batch, "float32") for batch in batches]
    found = np.concatenate([serve(batch)["probabilities"] for batch in batches])
    expected = np.concatenate([answers(batch)["probabilities"] for batch in batches])
    return Agreement.of(found, expected, served.thresholds)
