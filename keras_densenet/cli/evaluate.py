"""`keras-densenet evaluate`."""

import functools
import pathlib
from typing import Annotated

import numpy as np
import typer

from keras_densenet import training
from keras_densenet.cli.common import DataDir, Model, SkipBad, app, console, load_splits
from keras_densenet.console import Table, track

_SHOWN = 20


@app.command()
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
):
    """Measure loss, top-1 and top-5 accuracy, and each class' accuracy, on the test images.

    Example: keras-densenet evaluate runs/digits --out runs/digits/test
    """
    network, labels = training.load_model(model)
    *size, channels = network.input_shape[1:]
    record = training.load_record(model)
    run = record.get("arguments", {})
    data = data or run.get("data")
    if data is None:
        raise ValueError("--data must be given for a model without a run.json beside it")
    seed = run.get("recipe", {}).get("seed", 0)  # of the split
    splits = load_splits(data, None if None in size else size, skip_bad, data_dir, seed, channels)
    if record and splits.labels != labels:
        raise ValueError(f"The network's classes are {_some(labels)}. Received: images of {_some(splits.labels)}")

    watched = functools.partial(track, what="evaluating", console=console)
    found = training.evaluate(network, splits.test, splits.labels, batch_size, ten_crop, watched)
    table = Table("class", "images", "accuracy", right=(1, 2))
    for index in np.argsort(np.nan_to_num(found.class_accuracy, nan=2), kind="stable")[:_SHOWN]:
        table.add_row(labels[index], f"{found.images[index]:,}", f"{found.class_accuracy[index]:.2%}")
    console.print(table)
    if len(labels) > _SHOWN:
        console.print(f"(the {_SHOWN} worst of {len(labels)} classes)")
    console.print(f"{data} test images: loss {found.loss:.4f}, accuracy {found.top1:.2%}, top 5 {found.top5:.2%}")
    if out is not None:
        found.write(out)
        console.print(f"per-class accuracy and confusion matrix are in {out}")


def _some(labels):
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
