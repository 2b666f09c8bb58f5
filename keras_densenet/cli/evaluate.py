"""`keras-densenet evaluate`."""

import functools
import pathlib
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import command, console
from keras_densenet.cli.loading import DataDir, Model, SkipBad, load_both, table_options
from keras_densenet.console import Table, track

_SHOWN = 20
_NAMES = {"auroc": "AUROC", "average_precision": "average precision"}


@command()
@table_options
def evaluate(
    model: Model,
    data: Annotated[str | None, typer.Option(help="As for train. Default: what the run trained on.")] = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    ten_crop: Annotated[bool, typer.Option(help="Average over corners, centre and mirror images.")] = False,
    batch_size: Annotated[int, typer.Option(help="Images in a batch.")] = 64,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap's 95 % intervals; 0 for none.")] = 1000,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for figures, tables, predictions, curves and confusion.")
    ] = None,
    *,
    table,
):
    """Measure a network on the test images: loss, areas under ROC and precision-recall curves, calibration error.

    Of one class an image also top-1 and top-5 accuracy and each class' accuracy; of many labels what is found at each
    label's threshold.

    Example: keras-densenet evaluate runs/digits --out runs/digits/test
    """
    network, labels, data, splits = load_both(model, data, skip_bad, data_dir, table)
    track_batches = functools.partial(track, what="evaluating", console=console)
    batches = batch_size, ten_crop, track_batches
    found = training.evaluate(network, splits.test, splits.labels, *batches, resamples=resamples)
    with console.status("drawing images anew, for the intervals ..."):
        figures = found.figures
    show_labels(found, *(() if found.many else ("accuracy",)), *found.areas, *(_AT_THRESHOLD if found.many else ()))
    told = [f"loss {found.loss:.4f}"]
    if not found.many:
        told.append(f"accuracy {found.top1:.2%}")
        told += [f"top 5 {found.top5:.2%}"] if len(labels) > 5 else []  # of five classes any answer has the right one
    for name in found.areas:
        ends = figures.get(f"{name}_interval")
        told.append(f"{_NAMES[name]} {figures[name]:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else ""))
    told.append(f"calibration error {figures['calibration_error']:.4f}")
    console.print(f"{data} test images: {', '.join(told)}", highlight=False, soft_wrap=True)
    if out is not None:
        with console.status("writing ..."):
            found.write(out)
        console.print(f"figures, predictions, curves and what was taken for what are in {out}")


_AT_THRESHOLD = "threshold", "sensitivity", "specificity"


def show_labels(found, *columns):
    """Prints what an `Evaluation` found of each named label, of many those that are worst in the first column.

    Args:
        found: the `Evaluation`.
        columns: names of its table's.
    """
    import numpy as np

    name, *_ = found.table[0]
    rows = [row for row in found.table if row[name]]
    rows.sort(key=lambda row: np.nan_to_num(_number(row[columns[0]]), nan=2))
    table = Table(name, "images", *(_NAMES.get(column, column) for column in columns), right=range(1, 2 + len(columns)))
    for row in rows[:_SHOWN]:
        table.add_row(row[name], f"{row['images']:,}", *(f"{_number(row[column]):.2%}" for column in columns))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"(the {_SHOWN} worst of {len(rows)})")


def _number(value):
    return float("nan") if value is None else float(value)
