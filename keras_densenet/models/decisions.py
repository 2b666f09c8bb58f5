"""What is decided about a trained network's answers: how sure they are, and from where on a label is there."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_densenet.types import Array

THRESHOLD = 0.5  # where nothing was decided


class Decisions(NamedTuple):
    """What `training.calibrate` decides on validation images, and a `DenseNetModel` keeps.

    Args:
        thresholds: by label, the probability (after the temperature) from which on it is there; None for a label that
            nothing could be decided for. None for a network of one class an image, which is the most probable.
        temperature: what logits are divided by before they become probabilities.
        rule: how the thresholds were chosen, such as "f1"; None where it is not known.
        calibration_error: before and after the temperature, on the images that it was fitted on; None where unknown.

    Examples:
        >>> model.decisions = kd.models.Decisions(temperature=1.5)
        >>> model.decisions.temperature
        1.5
    """

    thresholds: tuple[float | None, ...] | None = None
    temperature: float = 1.0
    rule: str | None = None
    calibration_error: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """A dict for JSON; `Decisions(**it)` has what it had."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


def checked(decisions: Sequence[Any], outputs: int) -> Decisions:
    """Decisions about a network of so many outputs, as a file may have them, in their types; or a ValueError."""
    thresholds, temperature, rule, errors = decisions
    if not temperature > 0 or not np.isfinite(temperature):
        raise ValueError(f"temperature must be a positive number. Received: temperature={temperature!r}")
    if thresholds is not None:
        if len(thresholds) != outputs:
            raise ValueError(f"thresholds must be {outputs}, one for each label. Received: {len(thresholds)}")
        thresholds = tuple(None if limit is None else float(limit) for limit in thresholds)
        if any(limit is not None and not np.isfinite(limit) for limit in thresholds):
            raise ValueError(f"thresholds must be finite numbers, or None. Received: {thresholds}")
    return Decisions(thresholds, float(temperature), rule, errors and (float(errors[0]), float(errors[1])))


def thresholds_of(model: Any) -> tuple[float | None, ...]:
    """A model's thresholds by label; 0.5 each where none were chosen."""
    decisions = getattr(model, "decisions", None)
    if decisions is None or decisions.thresholds is None:
        return (THRESHOLD,) * model.output_shape[-1]
    return decisions.thresholds


def limits(thresholds: Sequence[float | None]) -> Array:
    """Thresholds as float32 `(labels,)`, to compare probabilities with: none reaches an undecided label's."""
    return np.array([np.inf if threshold is None else threshold for threshold in thresholds], "float32")
