"""Whether a written export is whole, loads as a server loads it, and answers as Keras does."""

import collections
import dataclasses
import pathlib
import time
from typing import Any

import numpy as np
import tensorflow as tf

from keras_densenet.serving.agreement import LARGEST_DIFFERENCE, NARROW, Agreement
from keras_densenet.serving.card import hashes, read_card
from keras_densenet.serving.runtimes import loaded
from keras_densenet.serving.warmup import FILES, WARMUP, read_requests
from keras_densenet.types import Path

TOLERANCE = 1e-5
FILE_TOLERANCE = 0.02  # Pillow and TensorFlow round some pixels to neighbouring levels


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check_saved_model` found.

    Attributes:
        card: what `model_card.json` holds.
        signatures: `SignatureDef`s by name.
        load_seconds: of TensorFlow's C loader, or the runtime.
        operations: a `collections.Counter` of the graph's operations.
        warm_seconds: of the first answer by signature.
        deviation: of the answers from Keras', the largest absolute one, by signature; for image files from its answers
            to what Pillow decodes, as in training and predictions.
        agreement: of an export in 16 bits with Keras in float32, on all these requests; else None.
    """

    card: dict[str, Any]
    signatures: dict[str, Any]
    load_seconds: float
    operations: collections.Counter[str]
    warm_seconds: dict[str, float]
    deviation: dict[str, float]
    agreement: Agreement | None


def check_saved_model(folder: Path) -> Report:
    """Checks an export as a server loads it, and replays the requests that lie beside it.

    A SavedModel runs through TensorFlow's C loader, the code of the server; an ONNX or OpenVINO file in its runtime.

    Args:
        folder: a version's.

    Returns:
        A `Report`.

    Raises:
        ValueError: if a file was changed or is missing, it does not load, a request fails, or an answer is further
            than 1e-5 from what Keras answered when it was written (relative to the largest, where that is above 1). For
            image files (wide, tall, large, turned, grey, 16-bit, CMYK, with a palette) that is 0.02: single pixels may
            differ by two levels of 255, since decoders round differently. For an export in 16 bits it is 0.1, and 95 %
            of the decisions must be those of float32.

    Examples:
        >>> report = kd.serving.check_saved_model("served/digits/1")
    """
    folder = pathlib.Path(folder)
    card, found = read_card(folder), hashes(folder)
    expected = card.get("sha256", {})
    if changed := [name for name in sorted({*expected, *found}) if expected.get(name) != found.get(name)]:
        raise ValueError(f"{str(folder)!r} is not as it was written: {', '.join(changed)} changed, went or came")
    started = time.perf_counter()
    model = loaded(folder)
    load_seconds = time.perf_counter() - started
    try:
        warm_seconds: dict[str, float] = {}
        deviation: dict[str, float] = {}
        narrow, probabilities = card.get("precision") in NARROW, []
        for file in (WARMUP, FILES):
            for request, response in read_requests(folder, file):
                signature = request.model_spec.signature_name
                tolerance = FILE_TOLERANCE if signature == "image_bytes" else TOLERANCE
                started = time.perf_counter()
                answer = model.run(signature, {name: tf.make_ndarray(value) for name, value in request.inputs.items()})
                warm_seconds.setdefault(signature, time.perf_counter() - started)
                expected = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
                for name, value in expected.items():
                    allowed = LARGEST_DIFFERENCE if narrow else tolerance
                    found = _compare(f"{name} of {signature}", answer[name], value, allowed)
                    deviation[signature] = max(found, deviation.get(signature, 0.0))
                if narrow and "probabilities" in expected:
                    probabilities.append((answer["probabilities"], expected["probabilities"]))
        agreement = None
        if probabilities:
            ours, exact = map(np.concatenate, zip(*probabilities, strict=True))
            agreement = Agreement.of(ours, exact, (card["decisions"] or {}).get("thresholds"))
            agreement.check(card["precision"])
        return Report(card, model.signatures, load_seconds, model.operations, warm_seconds, deviation, agreement)
    finally:
        model.close()


def _compare(name, found, expected, tolerance):
    deviation = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
    if not deviation <= tolerance * max(1.0, float(np.abs(expected).max())):
        raise ValueError(f"{name} deviates from Keras' by {deviation:.3g}, more than {tolerance}")
    return deviation
