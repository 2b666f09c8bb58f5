"""`keras-densenet evaluate`."""

import functools
import pathlib
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import (
    DataDir,
    Model,
    SkipBad,
    command,
    console,
    load_network,
    load_splits_of,
    table_options,
)
from keras_densenet.console import Table, track

_SHOWN = 20


@command()
@table_options
def evaluate(
    model: Model,
    data: Annotated[str | None, typer.Option(help="As for train. Default: what the run trained on.")] = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    ten_crop: Annotated[bool, typer.Option(help="Average over corners, centre and mirror images.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 64,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for evaluation.json, classes.csv and confusion.csv and .png.")
    ] = None,
    *,
    table,
):
    """Measure loss, top-1 and top-5 accuracy, and each class' accuracy, on the test images.

    Example: keras-densenet evaluate runs/digits --out runs/digits/test
    """
    import numpy as np

    network, labels = load_network(model)
    data, splits = load_splits_of(model, network, labels, data, skip_bad, data_dir, table)
    watched = functools.partial(track, what="evaluating", console=console)
    found = training.evaluate(network, splits.test, splits.labels, batch_size, ten_crop, watched)
    table = Table("class", "images", "accuracy", right=(1, 2))
    for index in np.argsort(np.nan_to_num(found.class_accuracy, nan=2), kind="stable")[:_SHOWN]:
        table.add_row(labels[index], f"{found.images[index]:,}", f"{found.class_accuracy[index]:.2%}")
    console.print(table)
    if len(labels) > _SHOWN:
        console.print(f"(the {_SHOWN} worst of {len(labels)} classes)")
    top5 = f", top 5 {found.top5:.2%}" if len(labels) > 5 else ""  # of five classes any answer has the right one
    console.print(f"{data} test images: loss {found.loss:.4f}, accuracy {found.top1:.2%}{top5}")
    if out is not None:
        found.write(out)
        console.print(f"per-class accuracy and what was taken for what are in {out}")
