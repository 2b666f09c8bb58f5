"""`keras-densenet predict`."""

import json
import pathlib
import sys
from typing import Annotated

import typer

from keras_densenet import data, training
from keras_densenet.cli.common import Model, command, console, load_network, read_labels
from keras_densenet.console import Console, Table, track


@command()
def predict(
    model: Model,
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for paths on standard input, one a line.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Name files that cannot be read, and go on.")] = False,
    label_file: Annotated[
        pathlib.Path | None, typer.Option("--labels", help="File of class names, one a line. Default: the run's.")
    ] = None,
):
    """Tell what is in images.

    Example: keras-densenet predict runs/digits seven.png photos/ --json
    """
    network, labels = load_network(model)
    labels = labels if label_file is None else read_labels(label_file, network)
    paths, errors = image_files(images), Console(stderr=True)
    bad = (lambda error: errors.print(f"skipped: {error}")) if skip_bad else None
    answers = training.predict(network, paths, batch_size, bad)
    found = track(answers, "predicting", len(paths), console=errors)
    table = Table("image", "classes, most probable first")
    for path, row in found:
        best = [(labels[index], float(row[index])) for index in (-row).argsort()[:top]]
        if as_json:
            named = [{"label": label, "probability": probability} for label, probability in best]
            print(json.dumps({"image": str(path), "predictions": named}))
        else:
            table.add_row(str(path), "  ".join(f"{label} {probability:.1%}" for label, probability in best))
    if not as_json:
        console.print(table)


def image_files(arguments):
    """The image files that the arguments stand for."""
    if "-" not in arguments:
        return data.files_of(arguments)
    listed = [line.rstrip("\n") for line in sys.stdin if line.strip()]
    return data.files_of(path for argument in arguments for path in (listed if argument == "-" else [argument]))
