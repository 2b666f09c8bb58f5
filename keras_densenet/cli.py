"""`keras-densenet`: parses, calls the package, prints."""

import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Annotated

import numpy as np
import rich.console
import rich.markup
import rich.table
import typer

import keras_densenet as kd
from keras_densenet import data, serving, training
from keras_densenet.models.variants import variant
from keras_densenet.training.progress import ProgressBar

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="DenseNets for Keras: train, evaluate, predict, export.\n\nExample: keras-densenet quickstart",
)
console = rich.console.Console()
DATA = {"digits": data.load_digits}
QUICKSTART = {"depth": 16, "growth_rate": 12}

Model = Annotated[pathlib.Path, typer.Argument(help="A run's folder, or a .keras file.")]
Data = Annotated[str, typer.Option(help="Data set: " + ", ".join(DATA) + ".")]


def run():
    """Runs the command line; a user's mistake ends in one sentence and exit code 2."""
    try:
        app()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("KERAS_DENSENET_DEBUG"):
            raise
        rich.console.Console(stderr=True).print(f"[red]Error:[/red] {rich.markup.escape(str(error))}")
        sys.exit(2)


@app.command()
def models():
    """List the family: blocks, growth rate, theta, parameters, MACs.

    Example: keras-densenet models
    """
    table = rich.table.Table("name", "blocks", "k", "theta", "kind", "image", "parameters", "MACs", box=None)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[-2:]:
        column.justify = "right"
    for name in kd.list_models():
        plan, cost = kd.Architecture.plan(**variant(name)), kd.cost(name)
        kind = "".join(("B" * plan.bottleneck, "C" * (plan.theta < 1))) or "plain"
        size = "x".join(map(str, plan.input_shape))
        figures = f"{cost.trainable_parameters:,}", f"{cost.macs / 1e6:,.0f} M"
        blocks = "-".join(map(str, plan.blocks))
        table.add_row(name, blocks, str(plan.growth_rate), str(plan.theta), kind, size, *figures)
    console.print(table)


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
    _train({**network, "dropout_rate": dropout_rate}, data, recipe, out)


@app.command()
def evaluate(model: Model, data: Data = "digits"):
    """Measure loss and accuracy on the test images.

    Example: keras-densenet evaluate runs/digits
    """
    network, _ = training.load_model(model)
    with console.status("evaluating ..."):
        found = training.evaluate(network, _splits(data).test)
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
    pixels = data.read_images(images, network.input_shape[1:])
    table = rich.table.Table("image", "classes, most probable first", box=None)
    for path, row in zip(images, network.predict_on_batch(pixels), strict=True):
        best = np.argsort(-row)[:top]
        table.add_row(str(path), "  ".join(f"{labels[index]} {row[index]:.1%}" for index in best))
    console.print(table)


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


@app.command()
def quickstart(
    out: Annotated[pathlib.Path, typer.Option(help="Folder for everything that is made.")] = pathlib.Path("quickstart"),
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 15,
):
    """Train a small DenseNet-BC on handwritten digits, export it, and ask the export for a few digits.

    Example: keras-densenet quickstart
    """
    state = _train(QUICKSTART, "digits", training.Recipe(epochs=epochs, batch_size=32), out)
    target = serving.export_saved_model(training.load_model(out)[0], out / "served", "digits")
    console.print(f"exported to {target}; asking it from a fresh process:", highlight=False)
    test = data.load_digits().test
    probabilities = _ask_fresh_process(target, test.images[:10])
    table = rich.table.Table("held-out digit", *map(str, range(10)), box=None)
    table.add_row("truth", *(state["labels"][label] for label in test.labels[:10]))
    table.add_row("predicted", *(state["labels"][row.argmax()] for row in probabilities))
    table.add_row("probability", *(f"{row.max():.0%}" for row in probabilities))
    console.print(table)
    console.print(f"Next: keras-densenet predict {out} your-image.png", highlight=False)


def _train(network, name, recipe, out):
    splits = _splits(name)
    cost = kd.cost({**network, "classes": len(splits.labels), "input_shape": splits.train.images.shape[1:]})
    console.print(
        f"DenseNet with {cost.trainable_parameters:,} parameters and {cost.macs / 1e6:,.1f} M MACs on "
        f"{len(splits.train.labels):,} {name} images",
        highlight=False,
    )
    state = training.train(network, name, splits, recipe, out, [ProgressBar(console, recipe.batch_size)])
    console.print(
        f"test accuracy {state['test']['accuracy']:.2%} after {state['training_seconds']:.0f} s of training; "
        f"model, history, curves and arguments are in {out}",
        highlight=False,
    )
    return state


def _splits(name):
    if name not in DATA:
        raise ValueError(f"--data must be one of {', '.join(DATA)}. Received: {name!r}")
    return DATA[name]()


def _ask_fresh_process(folder, images):
    with tempfile.TemporaryDirectory() as scratch:
        given, answer = pathlib.Path(scratch, "images.npy"), pathlib.Path(scratch, "probabilities.npy")
        np.save(given, images)
        script = pathlib.Path(serving.__file__).with_name("run_saved_model.py")
        command = [sys.executable, "-I", str(script), str(folder), str(given), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"The exported model in {folder} does not run in a fresh process: {done.stderr[-800:]}")
        return np.load(answer)
