"""`keras-densenet train`, `evaluate` and `predict`."""

import pathlib
from typing import Annotated

import numpy as np
import rich.table
import typer

from keras_densenet import data as data_sets
from keras_densenet import training
from keras_densenet.cli.common import Data, Model, app, console, load_splits, run_training
from keras_densenet.family import variant


@app.command()
def train(
    out: Annotated[pathlib.Path, typer.Option(help="The run's folder; called again, the run goes on.")],
    model: Annotated[str | None, typer.Option(help="A name from `keras-densenet models`.")] = None,
    depth: Annotated[int, typer.Option(help="L of a network of your own: 6n + 4, or 3n + 4 if plain.")] = 22,
    growth_rate: Annotated[int, typer.Option(help="k of a network of your own.")] = 12,
    theta: Annotated[float, typer.Option(help="Compression of a network of your own, in (0, 1].")] = 0.5,
    bottleneck: Annotated[bool, typer.Option(help="1x1 bottlenecks in a network of your own.")] = True,
    dropout_rate: Annotated[float, typer.Option(help="Dropout after every convolution.")] = 0.0,
    data: Data = "digits",
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 30,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
    weight_decay: Annotated[float, typer.Option(help="On all trainable weights.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of weights, order, shifts and dropout.")] = 0,
):
    """Train a network, compiled with XLA.

    Example: keras-densenet train --model densenet-bc-40-12 --epochs 20 --out runs/bc-40-12
    """
    if model is None:
        network = {"depth": depth, "growth_rate": growth_rate, "theta": theta, "bottleneck": bottleneck}
    else:
        network = {key: value for key, value in variant(model).items() if key not in ("classes", "input_shape")}
    recipe = training.Recipe(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, weight_decay=weight_decay, seed=seed
    )
    run_training({**network, "dropout_rate": dropout_rate}, data, recipe, out)


@app.command()
def evaluate(model: Model, data: Data = "digits"):
    """Measure loss and accuracy on the test images.

    Example: keras-densenet evaluate runs/digits
    """
    network, _ = training.load_model(model)
    with console.status("evaluating ..."):
        found = training.evaluate(network, load_splits(data).test)
    console.print(f"{data} test images: loss {found['loss']:.4f}, accuracy {found['accuracy']:.2%}", highlight=False)


@app.command()
def predict(
    model: Model,
    images: Annotated[list[pathlib.Path], typer.Argument(help="Image files.")],
    top: Annotated[int, typer.Option(help="How many classes to show.")] = 3,
):
    """Tell what is in image files.

    Example: keras-densenet predict runs/digits seven.png
    """
    network, labels = training.load_model(model)
    pixels = data_sets.read_images(images, network.input_shape[1:])
    table = rich.table.Table("image", "classes, most probable first", box=None)
    for path, row in zip(images, network.predict_on_batch(pixels), strict=True):
        best = np.argsort(-row)[:top]
        table.add_row(str(path), "  ".join(f"{labels[index]} {row[index]:.1%}" for index in best))
    console.print(table)
