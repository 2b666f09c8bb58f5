"""`keras-densenet evaluate`."""

import pathlib
from typing import Annotated

import numpy as np
import rich.progress
import rich.table
import typer

from keras_densenet import training
from keras_densenet.cli.common import Data, Model, app, console, load_splits

_SHOWN = 20


@app.command()
def evaluate(
    model: Model,
    data: Data = "digits",
    ten_crop: Annotated[bool, typer.Option(help="Average over corners, centre and mirror images.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 64,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for evaluation.json, classes.csv and confusion.csv and .png.")
    ] = None,
):
    """Measure loss, top-1 and top-5 accuracy, and each class' accuracy, on the test images.

    Example: keras-densenet evaluate runs/digits --out runs/digits/test
    """
    network, labels = training.load_model(model)
    splits = load_splits(data)

    def track(batches):
        return rich.progress.track(batches, "evaluating", len(batches), console=console, transient=True)

    found = training.evaluate(network, splits.test, splits.labels, batch_size, ten_crop, track)
    table = rich.table.Table("class", "images", "accuracy", box=None)
    for index in np.argsort(np.nan_to_num(found.class_accuracy, nan=2), kind="stable")[:_SHOWN]:
        table.add_row(labels[index], f"{found.images[index]:,}", f"{found.class_accuracy[index]:.2%}")
    console.print(table)
    if len(labels) > _SHOWN:
        console.print(f"(the {_SHOWN} worst of {len(labels)} classes)", highlight=False)
    console.print(
        f"{data} test images: loss {found.loss:.4f}, accuracy {found.top1:.2%}, top 5 {found.top5:.2%}", highlight=False
    )
    if out is not None:
        found.write(out)
        console.print(f"per-class accuracy and confusion matrix are in {out}", highlight=False)
