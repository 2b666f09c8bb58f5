"""`keras-densenet calibrate`."""

import functools
import pathlib
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import command, console
from keras_densenet.cli.evaluate import show_labels
from keras_densenet.cli.loading import DataDir, Model, SkipBad, load_both, table_options
from keras_densenet.console import track


@command()
@table_options
def calibrate(
    model: Model,
    data: Annotated[str | None, typer.Option(help="As for train. Default: what the run trained on.")] = None,
    thresholds: Annotated[
        str | None,
        typer.Option(help="Of many labels: f1, sensitivity=0.9 or specificity=0.9.", show_default="f1"),
    ] = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder for calibration.json and calibration.png. Default: the model's own."),
    ] = None,
    *,
    table,
):
    """Make probabilities honest and choose thresholds, on the validation images; the model file keeps both.

    predict, evaluate and export use them from then on. Call it again after further training.

    Example: keras-densenet calibrate runs/xrays --thresholds sensitivity=0.9
    """
    network, labels, data, splits = load_both(model, data, skip_bad, data_dir, table)
    watched = functools.partial(track, what="asking", console=console)
    found = training.calibrate(network, splits.validation, thresholds, labels, batch_size, watched)
    file = training.model_file(model)
    training.keep_decisions(file, found.decisions)
    found.write(out or file.parent)
    if found.after.many:
        show_labels(found.after, "threshold", "sensitivity", "specificity", "precision")
    before, after = (evaluation.figures["calibration_error"] for evaluation in (found.before, found.after))
    console.print(
        f"{data} validation images: temperature {found.decisions.temperature:.3f}, calibration error {before:.4f} "
        f"before and {after:.4f} after; kept in {file}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
