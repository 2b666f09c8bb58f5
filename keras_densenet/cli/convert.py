"""`keras-densenet weights` and `keras-densenet convert`."""

import pathlib
from typing import Annotated

import typer

import keras_densenet as kd
from keras_densenet.cli.common import app, command, console
from keras_densenet.console import Table
from keras_densenet.weights.catalogue import CHECKPOINTS


@app.command()
def weights():
    """List the published weights: accuracy, input, licence, where they lie.

    Example: keras-densenet weights
    """
    table = Table("name", "top-1", "top-5", "image", "licence", "file")
    for row in CHECKPOINTS.values():
        table.add_row(row.name, f"{row.top1:.2f}", f"{row.top5:.2f}", str(row.input_size), row.licence, row.url)
    console.print(table)


@command()
def convert(
    source: Annotated[str, typer.Argument(help="A file of weights, or a name from `keras-densenet weights`.")],
    model: Annotated[str, typer.Option(help="A name from `keras-densenet models`.")],
    out: Annotated[pathlib.Path, typer.Option(help="File to write: .weights.h5, .h5, .safetensors or .pth.")],
    layout: Annotated[str, typer.Option(help="keras_densenet, torchvision or keras.")] = "keras_densenet",
    classes: Annotated[int | None, typer.Option(help="Of the source's classifier. Default: as published.")] = None,
    network: Annotated[str | None, typer.Option(help="Which of several networks in the source.")] = None,
    top: Annotated[bool, typer.Option(help="Whether to convert the classifier.")] = True,
):
    """Turn weights of Keras, torchvision, timm or keras-hub into this package's, or into theirs.

    Example: keras-densenet convert densenet121.safetensors --model densenet121 --out densenet121.weights.h5
    """
    from keras_densenet.weights.files import check_target

    check_target(out, layout)
    arguments = {"include_top": top} | ({"classes": classes} if classes else {})
    with console.status("building the network ..."):
        built = kd.create_model(model, **arguments)
    with console.status("converting ..."):
        kd.load_weights(built, source, network=network)
        kd.save_weights(built, out, layout)
    console.print(f"{source} is now {out} in the layout of {layout}")
