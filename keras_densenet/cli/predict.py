"""`keras-densenet predict`."""

import functools
import json
import pathlib
import sys
from typing import Annotated

import typer

from keras_densenet import data, training
from keras_densenet.cli.common import command, console
from keras_densenet.cli.loading import Model, load_network, read_labels
from keras_densenet.console import Console, Table, track


@command()
def predict(
    model: Model,
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for paths on standard input, one a line.")
    ],
    top: Annotated[
        int | None, typer.Option(min=1, help="How many classes to show.", show_default="3, or all of many labels")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    samples: Annotated[
        int, typer.Option(min=0, help="How often to ask with dropout, to tell how sure the network is.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the dropout.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Name files that cannot be read, and go on.")] = False,
    label_file: Annotated[
        pathlib.Path | None, typer.Option("--labels", help="File of class names, one a line. Default: the run's.")
    ] = None,
):
    """Tell what is in images.

    Many labels have the thresholds that `calibrate` chose, or 0.5. With --samples, probabilities are means, each with
    its spread (standard deviation), and an image has the mutual information of its answers: what more training could
    teach, in nats.

    Example: keras-densenet predict runs/digits seven.png photos/ --json
    """
    from keras_densenet.models.decisions import thresholds_of

    network, labels = load_network(model)
    labels = labels if label_file is None else read_labels(label_file, network)
    thresholds = thresholds_of(network) if training.Task.of_model(network, labels).many else None
    paths, errors = image_files(images), Console(stderr=True)
    bad = (lambda error: errors.print(f"skipped: {error}")) if skip_bad else None
    ask = functools.partial(_ask_often, network, samples, seed) if samples else None
    answers = training.predict(network, paths, batch_size, bad, ask)
    found = track(answers, "predicting", len(paths), console=errors)
    table = answer_table(thresholds, samples)
    for path, answer in found:
        row, spread, information = answer if samples else (answer, None, None)
        best = ranked(labels, row, top, thresholds, spread)
        if as_json:
            told_of = {} if information is None else {"mutual_information": float(information)}
            print(json.dumps({"image": str(path), "predictions": best, **told_of}))
        else:
            table.add_row(str(path), told(best), *([] if information is None else [f"{information:.3f}"]))
    if not as_json:
        console.print(table)


def _ask_often(network, samples, seed, images):
    import keras_densenet as kd

    return zip(*kd.predict_with_uncertainty(network, images, samples, seed=seed), strict=True)


def ranked(labels, row, top, thresholds=None, spread=None):
    """The most probable labels of an image as dicts, all of many labels where `top` is None; those without name not."""
    found = []
    for index in (-row).argsort(kind="stable"):
        entry = {"label": labels[index], "probability": float(row[index])}
        if spread is not None:
            entry["spread"] = float(spread[index])
        if thresholds is not None:
            threshold = thresholds[index]
            entry["threshold"] = threshold
            entry["positive"] = None if threshold is None else bool(row[index] >= threshold)
        if labels[index]:
            found.append(entry)
    return found[: top or (3 if thresholds is None else None)]


def answer_table(many, samples=0):
    """A table of images and what `told` says of them."""
    what = "labels, most probable first, and their thresholds" if many else "classes, most probable first"
    return Table("image", what, *(["mutual information"] if samples else []))


def told(best):
    """What `ranked` found, for people."""
    return "  ".join(_told(**entry) for entry in best)


def _told(label, probability, spread=None, threshold=None, positive=None):
    text = f"{label} {probability:.1%}" + ("" if spread is None else f" +- {spread:.1%}")
    if positive is None:
        return text
    return f"{text} {'present' if positive else 'absent'}" + ("" if threshold is None else f" (from {threshold:.1%})")


def image_files(arguments):
    """The image files that the arguments stand for."""
    if "-" not in arguments:
        return data.files_of(arguments)
    listed = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    return data.files_of(path for argument in arguments for path in (listed if argument == "-" else [argument]))
