"""An `Evaluation` as files: figures, tables, every prediction, and pictures."""

import functools
import pathlib

from keras_densenet.files import write_csv, write_json, write_table, written_beside
from keras_densenet.training import curves
from keras_densenet.training.metrics import known_of_labels, reliability

MATRIX = 1000  # classes whose confusion is written and drawn as a matrix, and whose curves have areas


def write_evaluation(found, folder):
    """Writes what `Evaluation.write` promises."""
    folder = pathlib.Path(folder)
    write_json(folder / "evaluation.json", found.figures)
    rows = found.table
    write_table(folder / f"{'labels' if found.many else 'classes'}.csv", rows)
    write_csv(folder / "predictions.csv", _predictions(found))
    write_csv(folder / "confusion.csv", _confusion(found))
    draw = {"confusion.png": _draw_confusion, "reliability.png": _draw_reliability}
    draw |= {f"{kind}.png": functools.partial(_draw_curves, kind=kind) for kind in curves.CURVES}
    for name, drawn in draw.items():
        if len(found.labels) > MATRIX:
            (folder / name).unlink(missing_ok=True)
            continue
        with written_beside(folder / name) as path:
            drawn(found, path)


def _predictions(found):
    names = [f"probability: {label}" for label in found.labels]
    rows = enumerate(zip(found.truth, found.probabilities, strict=True))
    if found.many:
        yield "image", *(f"truth: {label}" for label in found.labels), *names
        for index, (truth, row) in rows:
            yield index, *("" if value < 0 else value for value in truth), *row
        return
    of_all = len(names) <= MATRIX
    yield "image", "truth", *(names if of_all else ["prediction", "probability"])
    for index, (truth, row) in rows:
        yield index, found.labels[truth], *(row if of_all else [found.labels[row.argmax()], row.max()])


def _confusion(found):
    if found.many:
        yield "label", "threshold", "true negatives", "false positives", "false negatives", "true positives"
        for label, threshold, matrix in zip(found.labels, found.thresholds, found.confusion, strict=True):
            yield label, threshold, *matrix.flat
    elif len(found.labels) > MATRIX:
        yield "true class", "predicted class", "images"
        yield from ((found.labels[true], found.labels[taken], count) for true, taken, count in found.counts)
    else:
        yield "true class", *found.labels
        yield from ([label, *row] for label, row in zip(found.labels, found.confusion, strict=True))


def _draw_confusion(found, path):
    draw = curves.draw_confusions if found.many else curves.draw_confusion
    draw(found.confusion, found.labels, path)


def _draw_reliability(found, path):
    points = reliability(found.truth, found.probabilities)
    curves.draw_reliability({"": (points, found.figures["calibration_error"])}, path)


def _draw_curves(found, path, kind):
    known = [*known_of_labels(found.truth, found.probabilities)]
    curves.draw_label_curves(kind, known, found.areas[curves.CURVES[kind]], found.labels, path)
