"""What commands that read a data set or a trained network share: their options, and how both are loaded."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from keras_densenet import data as data_sets
from keras_densenet import models, training
from keras_densenet.architecture import sides
from keras_densenet.cli.common import console, gathered
from keras_densenet.console import Console
from keras_densenet.names import some

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


def load_both(model, source=None, skip_bad=False, data_dir=None, table=None):
    """Loads a trained network and a data set, as files become its input, and makes sure that the classes are its own.

    Of many labels, those that both have are enough.

    Args:
        model: the path of the network.
        source: a data set. Default: what the run trained on.
        skip_bad, data_dir: as for `data.load`.
        table: what `table_options` gathers; of what the run trained on it changes what is given.

    Returns:
        What `load_network` gives, the data set's name, and `Splits`.
    """
    from keras_densenet.data.sources import described, name_of

    network, labels = load_network(model)
    record = training.load_record(model)
    run = record.get("arguments", {})
    known = run.get("data") if source is None else source
    if known is None:
        raise ValueError("--data must be given for a model without a run.json beside it")
    known = described(known, **(table or {}))
    framing = dataclasses.asdict(models.framing_of(network))
    framing |= {"image_size": framing.pop("size"), "seed": run.get("recipe", {}).get("seed", 0)}  # of the split
    splits, name = load_splits(known, skip_bad=skip_bad, data_dir=data_dir, **framing), name_of(known)
    if splits.train.labels.ndim == 2 and (record or getattr(network, "labels", None)) and splits.labels != labels:
        splits = _arranged(splits, name, labels)
    elif record and splits.labels != labels:
        raise ValueError(f"The network's classes are {some(labels)}. Received: images of {some(splits.labels)}")
    return network, labels, name, splits


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


def load_splits(source, **options):
    """Loads what `data.load` takes, and tells what its check found."""
    import absl.logging

    from keras_densenet.data.sources import name_of

    absl.logging.set_verbosity(absl.logging.ERROR)  # TensorFlow Datasets warns of what is no user's business
    splits = data_sets.load(source, **options)
    for note in splits.notes:
        console.print(f"{name_of(source)}: {note}")
    return splits
