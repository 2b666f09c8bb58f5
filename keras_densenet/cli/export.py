"""`keras-densenet export`."""

import pathlib
from typing import Annotated

import typer

from keras_densenet import serving, training
from keras_densenet.cli.common import Model, app, console


@app.command()
def export(
    model: Model,
    out: Annotated[pathlib.Path, typer.Option(help="Folder of all served models.")],
    name: Annotated[str | None, typer.Option(help="Name to serve it under.")] = None,
    version: Annotated[int | None, typer.Option(help="Version. Default: the next one.")] = None,
    fold: Annotated[
        bool, typer.Option(help="Fold batch normalisation away: the same outputs, fewer operations.")
    ] = True,
):
    """Write a SavedModel for TensorFlow Serving.

    Example: keras-densenet export runs/digits --out served --name digits
    """
    network, _ = training.load_model(model)
    with console.status("exporting ..."):
        target = serving.export_saved_model(network, out, name, version, fold)
    console.print(f"exported to {target}", highlight=False)
