"""What the commands share: the application, the console, arguments, and how a run's progress is told."""

import importlib.util
import pathlib
from typing import Annotated

import absl.logging
import keras
import typer

import keras_densenet as kd
from keras_densenet import data as data_sets
from keras_densenet import training
from keras_densenet.console import Console
from keras_densenet.training.progress import ProgressBar
from keras_densenet.training.strategy import is_chief

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="DenseNets for Keras: train, evaluate, predict, export.\n\nExample: keras-densenet quickstart",
)
console = Console()

Model = Annotated[pathlib.Path, typer.Argument(help="A run's folder, or a .keras file.")]
Data = Annotated[
    str,
    typer.Option(
        help="digits, fashion_mnist, an image-classification name of TensorFlow Datasets such as cifar10, or a folder "
        "with the images of each class in a subfolder (below train, val and test, if there are such)."
    ),
]
ImageSize = Annotated[
    int | None, typer.Option(help="Height and width to give all images. Default: their own if they agree, else 224.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without images and classes that cannot be used.")]
DataDir = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder of Fashion-MNIST's IDX files, or where TensorFlow Datasets keeps its data."),
]


def run_training(network, name, splits, recipe, out, strategy=None, tensorboard=False, **options):
    strategy = strategy or training.make_strategy()
    xla, devices = training.uses_xla(recipe, strategy), strategy.num_replicas_in_sync
    cost = kd.cost({**network, "classes": len(splits.labels), "input_shape": splits.train.images.shape[1:]})
    console.print(
        f"DenseNet with {cost.trainable_parameters:,} parameters and {cost.macs / 1e6:,.1f} M MACs on "
        f"{len(splits.train.labels):,} {name} images; {devices} device{'s' * (devices > 1)}, "
        + ("compiled with XLA" if xla else "without XLA"),
        highlight=False,
    )
    callbacks = [ProgressBar(console, recipe.batch_size // recipe.accumulate, xla)]
    if tensorboard and is_chief(strategy):
        callbacks.append(_tensorboard(out / "tensorboard"))
    try:
        state = training.train(network, name, splits, recipe, out, callbacks, strategy, **options)
    except training.Terminated:
        console.print(f"terminated; the run is saved in {out} and goes on when called again", highlight=False)
        raise
    console.print(
        f"test accuracy {state['test']['accuracy']:.2%} after {state['training_seconds']:.0f} s of training; "
        f"model, history, curves and arguments are in {out}",
        highlight=False,
    )
    return state


def _tensorboard(folder):
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("TensorBoard logs need a package: pip install 'keras-densenet[tensorboard]'")
    return keras.callbacks.TensorBoard(folder, write_graph=False)


def load_splits(source, image_size=None, skip_bad=False, data_dir=None, seed=0, channels=None):
    """Loads a data set and tells what its check found."""
    absl.logging.set_verbosity(absl.logging.ERROR)  # TensorFlow Datasets warns of what is no user's business
    splits = data_sets.load(
        source, image_size=image_size, channels=channels, skip_bad=skip_bad, data_dir=data_dir, seed=seed
    )
    for note in splits.notes:
        console.print(f"{source}: {note}")
    return splits
