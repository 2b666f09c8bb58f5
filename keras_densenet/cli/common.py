"""What the commands share: the application, the console, arguments, and how a run's progress is told."""

import functools
import importlib.util
import pathlib
from typing import Annotated

import typer
import typer.core

import keras_densenet as kd
import keras_densenet_launch
from keras_densenet import data as data_sets
from keras_densenet import models, training
from keras_densenet.backend import check_backend
from keras_densenet.console import Console
from keras_densenet.names import some

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="DenseNets for Keras: train, evaluate, predict, export.\n\nExample: keras-densenet quickstart",
)
console = Console()


def _version(asked: bool):
    if asked:
        print(kd.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
):
    pass


class WithTensorFlow(typer.core.TyperCommand):
    """A command that needs TensorFlow; the others are answered at once."""

    def invoke(self, context):
        start_tensorflow()
        return super().invoke(context)


def start_tensorflow():
    """Imports TensorFlow without its messages, or ends the program with a sentence."""
    with keras_densenet_launch.quiet("cli"):
        check_backend()


command = functools.partial(app.command, cls=WithTensorFlow)

Model = Annotated[pathlib.Path, typer.Argument(help="A run's folder, or a .keras file.")]
DATA = (
    "digits, fashion_mnist, an image-classification name of TensorFlow Datasets such as cifar10, or a folder with the "
    "images of each class in a subfolder (below train, val and test, if there are such)."
)
Data = Annotated[str, typer.Option(help=DATA)]
ImageSize = Annotated[
    int | None, typer.Option(help="Height and width to give all images. Default: their own if they agree, else 224.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without images and classes that cannot be used.")]
DataDir = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder of Fashion-MNIST's IDX files, or where TensorFlow Datasets keeps its data."),
]


def run_training(network, name, splits, recipe, out, strategy=None, tensorboard=False, **options):
    from keras_densenet.training.progress import ProgressBar
    from keras_densenet.training.strategy import is_chief

    strategy = strategy or training.make_strategy()
    xla, devices = training.uses_xla(recipe, strategy), strategy.num_replicas_in_sync
    cost = kd.cost({**network, "classes": len(splits.labels), "input_shape": splits.train.images.shape[1:]})
    console.print(
        f"DenseNet with {cost.trainable_parameters:,} parameters and {cost.macs / 1e6:,.1f} M MACs on "
        f"{len(splits.train.labels):,} {name} images; {_counted(devices, 'device')}, "
        + ("compiled with XLA" if xla else "without XLA"),
        highlight=False,
    )
    bar = ProgressBar(console, recipe.batch_size // recipe.accumulate, xla)
    callbacks = [bar]
    if tensorboard and is_chief(strategy):
        callbacks.append(_tensorboard(out / "tensorboard"))
    try:
        state = training.train(network, name, splits, recipe, out, callbacks, strategy, **options)
    except (training.Terminated, KeyboardInterrupt) as end:
        how = "interrupted" if isinstance(end, KeyboardInterrupt) else "terminated"
        console.print(f"{how}; {_saved(out)}", highlight=False, markup=False, soft_wrap=True)
        raise
    accuracy, files = (
        f"test accuracy {state['test']['accuracy']:.2%}",
        f"model, history, curves and arguments are in {out}",
    )
    if bar.began:
        told = f"{accuracy} after {state['training_seconds']:.0f} s of training; {files}"
    else:
        told = f"the run has ended before, nothing is left to train (--epochs gives it more): {accuracy}; {files}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    return state


def _saved(out):
    from keras_densenet.training.folder import RunFolder

    progress = RunFolder(out, writes=False).read_progress()
    if not progress:
        return "nothing is saved yet"
    steps = f" and {_counted(progress.step, 'step')} of the next" if progress.step else ""
    return f"{out} keeps {_counted(progress.epoch, 'epoch')}{steps}, and the same command goes on from there"


def _counted(count, word):
    return f"{count} {word}{'s' * (count != 1)}"


def filled(recipe, splits, strategy=None):
    """The recipe with a batch size that nobody gave made one that the training images can fill; says so."""
    devices, count = strategy.num_replicas_in_sync if strategy else 1, len(splits.train.labels)
    parts = devices * recipe.accumulate
    size = min(recipe.batch_size, count) // parts * parts
    if size in (0, recipe.batch_size):
        return recipe
    console.print(
        f"batch size {size} instead of {recipe.batch_size}, for {count:,} training images on "
        f"{_counted(devices, 'device')}",
        highlight=False,
    )
    return recipe.changed(batch_size=size)


def _tensorboard(folder):
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("TensorBoard logs need a package: pip install 'keras-densenet[tensorboard]'")
    import keras

    return keras.callbacks.TensorBoard(folder, write_graph=False)


def load_network(path):
    """`training.load_model`, with a word about a network that gets pixels without being known to take them."""
    from keras_densenet.models.flat import takes_pixels

    network, labels = training.load_model(path)
    if not takes_pixels(network):
        Console(stderr=True).print(
            f"{path}: nothing in front of this network turns pixels into what its weights were trained on, and it does "
            "not say what that is. It gets pixels in 0..255 as they are; build it behind with_preprocessing(), or set "
            "model.preprocessing before it is saved"
        )
    return network, labels


def load_splits_of(model, network, labels, source=None, skip_bad=False, data_dir=None):
    """Loads a data set for a trained network, as files become its input, and makes sure that the classes are its own.

    Of many labels, those that both have are enough.

    Args:
        model: the path of the network.
        network: what `load_model` gave for it.
        labels: the same.
        source: a data set. Default: what the run trained on.
        skip_bad, data_dir: as for `load_splits`.

    Returns:
        The data set's name, and `Splits`.
    """
    record = training.load_record(model)
    run = record.get("arguments", {})
    source = source or run.get("data")
    if source is None:
        raise ValueError("--data must be given for a model without a run.json beside it")
    seed = run.get("recipe", {}).get("seed", 0)  # of the split
    splits = load_splits(source, skip_bad=skip_bad, data_dir=data_dir, seed=seed, framing=models.framing_of(network))
    known = record or getattr(network, "labels", None)
    if splits.train.labels.ndim == 2 and known and splits.labels != labels:
        return source, _arranged(splits, source, labels)
    if record and splits.labels != labels:
        raise ValueError(f"The network's classes are {some(labels)}. Received: images of {some(splits.labels)}")
    return source, splits


def _arranged(splits, source, labels):
    """`Splits` of many labels with the network's own, where some are in both; says which the network does not know."""
    from keras_densenet.training.evaluation import arranged

    parts = {part: getattr(splits, part) for part in ("train", "validation", "test")}
    parts = {part: arranged(split, splits.labels, labels) for part, split in parts.items()}
    if unknown := [label for label in splits.labels if label not in labels]:
        console.print(f"{source}: the network knows nothing of {some(unknown)}")
    return splits._replace(**parts, labels=labels)


def read_labels(path, network):
    """The names of a network's classes in a file, one a line."""
    labels, count = path.read_text(encoding="utf-8").splitlines(), network.output_shape[-1]
    if len(labels) != count:
        raise ValueError(f"{str(path)!r} must name {count} classes, one a line. Received: {len(labels)} lines")
    return labels


def load_splits(source, image_size=None, skip_bad=False, data_dir=None, seed=0, channels=None, framing=None):
    """Loads a data set, for a network by its `Framing`, and tells what its check found."""
    import absl.logging

    absl.logging.set_verbosity(absl.logging.ERROR)  # TensorFlow Datasets warns of what is no user's business
    given = {"image_size": image_size, "channels": channels}
    if framing is not None:
        given = {"image_size" if name == "size" else name: value for name, value in vars(framing).items()}
    splits = data_sets.load(source, skip_bad=skip_bad, data_dir=data_dir, seed=seed, **given)
    for note in splits.notes:
        console.print(f"{source}: {note}")
    return splits
