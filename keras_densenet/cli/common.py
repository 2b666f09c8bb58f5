"""What the commands share: the application, the console, arguments, and how a run's progress is told."""

import functools
import importlib.util
import inspect
import os
import pathlib
from typing import Annotated

import typer
import typer.core

import keras_densenet as kd
import keras_densenet_launch
from keras_densenet import data as data_sets
from keras_densenet import models, training
from keras_densenet.architecture import sides
from keras_densenet.backend import check_backend
from keras_densenet.console import Console
from keras_densenet.names import some
from keras_densenet.programs import keep_programs

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
    """Imports TensorFlow without its messages, or ends the program with a sentence; what XLA compiles is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    os.environ.setdefault("KERAS_DENSENET_CACHE", f"{cache}/keras_densenet")
    keep_programs()
    with keras_densenet_launch.quiet("cli"):
        check_backend()


command = functools.partial(app.command, cls=WithTensorFlow)

Model = Annotated[pathlib.Path, typer.Argument(help="A run's folder, or a .keras file.")]
DATA = (
    "digits, fashion_mnist, an image-classification name of TensorFlow Datasets such as cifar10, a folder with the "
    "images (or signals, or volumes) of each class in a subfolder (below train, val and test, if there are such), or a "
    "table (.csv, .tsv) of paths with a class, or a column of 1 and 0 for each label."
)
Data = Annotated[str, typer.Option(help=DATA)]
ImageSize = Annotated[
    str | None,
    typer.Option(
        help="What all images get: 64, HEIGHTxWIDTH or, of volumes, DEPTHxHEIGHTxWIDTH. Default: their own if they "
        "agree, else 224."
    ),
]
Dimensions = Annotated[
    int | None,
    typer.Option(
        help="1 of signals, 2 of images, 3 of volumes; what arrays do not say by themselves.",
        show_default="those of --image-size, or the files'",
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        help="How images of other sizes get theirs: bilinear, bicubic or, of signals and volumes, none: cut at the "
        "centre or filled up with zeros.",
        show_default="bilinear",
    ),
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Go on without images and classes that cannot be used.")]
DataDir = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder of Fashion-MNIST's IDX files, or where TensorFlow Datasets keeps its data."),
]


def _of_table(text):
    return typer.Option(help=text, rich_help_panel="Data in a table")


TABLE = {
    "images": Annotated[pathlib.Path | None, _of_table("Folder that its paths are in. Default: the table's.")],
    "uncertain": Annotated[
        str | None, _of_table("What -1 means: ignore (unknown, the default), positive or negative.")
    ],
    "column": Annotated[
        list[str] | None,
        _of_table("What a column is, if its name does not say: path=NAME, label=NAME,NAME, split=NAME or group=NAME."),
    ],
}


def table_options(command):
    """Gives a command the options of a table; `table` gets what is given, as options of `data.load`."""
    return gathered(command, "table", TABLE, _table)


def _table(given):
    columns = given.pop("column", ())
    if wrong := [text for text in columns if "=" not in text]:
        raise ValueError(f"--column must be path, label, split or group, = and a name. Received: {wrong[0]!r}")
    return given | ({"columns": dict(text.split("=", 1) for text in columns)} if columns else {})


def gathered(command, name, options, settled=lambda given: given):
    """Gives a command further options.

    Args:
        command: a function.
        name: of the command's argument that gets a dict of those that are given.
        options: a dict of annotations by name; what the command has already is left out.
        settled: what that argument gets is made of the dict by this function.
    """
    signature = inspect.signature(command)
    options = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for option, annotation in options.items()
        if option not in signature.parameters
    ]
    others = [parameter for other, parameter in signature.parameters.items() if other != name]

    @functools.wraps(command)
    def with_options(**given):
        found = {option.name: given.pop(option.name) for option in options}
        found = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
        return command(**given, **{name: settled({key: value for key, value in found.items() if value is not None})})

    with_options.__signature__ = signature.replace(parameters=[*others, *options])
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in (*others, *options)}
    return with_options


def run_training(network, name, splits, recipe, out, strategy=None, tensorboard=False, **options):
    from keras_densenet.data.sources import name_of
    from keras_densenet.training.progress import ProgressBar
    from keras_densenet.training.strategy import is_chief

    strategy = strategy or training.make_strategy()
    xla, devices = training.uses_xla(recipe, strategy), strategy.num_replicas_in_sync
    cost = kd.cost({**network, "classes": len(splits.labels), "input_shape": splits.train.images.shape[1:]})
    console.print(
        f"DenseNet with {cost.trainable_parameters:,} parameters and {cost.macs / 1e6:,.1f} M MACs on "
        f"{len(splits.train.labels):,} {name_of(name)} images; {_counted(devices, 'device')}, "
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
        f"test {_judged(state['test'])}",
        f"model, history, curves and arguments are in {out}",
    )
    if bar.began:
        told = f"{accuracy} after {state['training_seconds']:.0f} s of training; {files}"
    else:
        told = f"the run has ended before, nothing is left to train (--epochs gives it more): {accuracy}; {files}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    return state


def _judged(figures):
    """The figure of a test that says most, for people."""
    from keras_densenet.training.task import told

    name = "auroc" if "auroc" in figures else "accuracy"
    return f"{name} {told(name, figures[name])}"


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


def load_splits_of(model, network, labels, source=None, skip_bad=False, data_dir=None, table=None):
    """Loads a data set for a trained network, as files become its input, and makes sure that the classes are its own.

    Of many labels, those that both have are enough.

    Args:
        model: the path of the network.
        network: what `load_model` gave for it.
        labels: the same.
        source: a data set. Default: what the run trained on.
        skip_bad, data_dir: as for `load_splits`.
        table: what `table_options` gathers; of what the run trained on it changes what is given.

    Returns:
        The data set's name, and `Splits`.
    """
    from keras_densenet.data.sources import described, name_of, options_of

    record = training.load_record(model)
    run = record.get("arguments", {})
    known = run.get("data") if source is None else source
    if known is None:
        raise ValueError("--data must be given for a model without a run.json beside it")
    seed = run.get("recipe", {}).get("seed", 0)  # of the split
    known = described(**options_of(known) | (table or {}))
    splits = load_splits(known, skip_bad=skip_bad, data_dir=data_dir, seed=seed, framing=models.framing_of(network))
    name = name_of(known)
    if splits.train.labels.ndim == 2 and (record or getattr(network, "labels", None)) and splits.labels != labels:
        return name, _arranged(splits, name, labels)
    if record and splits.labels != labels:
        raise ValueError(f"The network's classes are {some(labels)}. Received: images of {some(splits.labels)}")
    return name, splits


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


def size_of(text, option="--image-size", dimensions=None):
    """The size that a text means: an int for "64", a tuple for "48x64" and "16x48x64", None for None.

    Where the dimensions are known, "64" is a tuple, too.
    """
    if text is None:
        return None
    found = text.split("x")
    if len(found) > 3 or not all(side.isdecimal() for side in found):
        raise ValueError(f"{option} must be like 64, 224x224 or 64x64x64. Received: {text!r}")
    size = int(text) if len(found) == 1 else tuple(map(int, found))
    return size if dimensions is None else sides(size, dimensions)


def load_splits(source, image_size=None, skip_bad=False, data_dir=None, seed=0, channels=None, framing=None, **options):
    """Loads what `data.load` takes, for a network by its `Framing`, and tells what its check found."""
    import absl.logging

    from keras_densenet.data.sources import name_of

    absl.logging.set_verbosity(absl.logging.ERROR)  # TensorFlow Datasets warns of what is no user's business
    given = {"image_size": image_size, "channels": channels, **options}
    if framing is not None:
        given = {"image_size" if name == "size" else name: value for name, value in vars(framing).items()}
    splits = data_sets.load(source, skip_bad=skip_bad, data_dir=data_dir, seed=seed, **given)
    for note in splits.notes:
        console.print(f"{name_of(source)}: {note}")
    return splits
