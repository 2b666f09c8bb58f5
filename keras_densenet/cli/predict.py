"""`keras-densenet predict`."""

import json
import pathlib
import sys
from typing import Annotated

import numpy as np
import typer

from keras_densenet import training
from keras_densenet.cli.common import Model, app, console
from keras_densenet.console import Console, Table, track

_SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


@app.command()
def predict(
    model: Model,
    images: Annotated[
        list[str], typer.Argument(help="Image files, folders of them, or - for paths on standard input, one a line.")
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to show.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
    skip_bad: Annotated[bool, typer.Option(help="Name files that cannot be read, and go on.")] = False,
):
    """Tell what is in images.

    Example: keras-densenet predict runs/digits seven.png photos/ --json
    """
    network, labels = training.load_model(model)
    paths, errors = image_files(images), Console(stderr=True)
    bad = (lambda error: errors.print(f"skipped: {error}")) if skip_bad else None
    answers = training.predict(network, paths, batch_size, bad)
    found = track(answers, "predicting", len(paths), console=errors)
    table = Table("image", "classes, most probable first")
    for path, row in found:
        best = [(labels[index], float(row[index])) for index in np.argsort(-row)[:top]]
        if as_json:
            named = [{"label": label, "probability": probability} for label, probability in best]
            print(json.dumps({"image": str(path), "predictions": named}))
        else:
            table.add_row(str(path), "  ".join(f"{label} {probability:.1%}" for label, probability in best))
    if not as_json:
        console.print(table)


def image_files(arguments):
    """The image files that the arguments stand for."""
    found = []
    for argument in arguments:
        path = pathlib.Path(argument)
        if argument == "-":
            found += [pathlib.Path(line.rstrip("\n")) for line in sys.stdin if line.strip()]
        elif path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
            if not inside:
                raise ValueError(f"There are no images in the folder {argument!r}")
            found += inside
        else:
            found.append(path)
    return found
