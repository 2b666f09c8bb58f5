"""`keras-densenet quickstart`."""

import pathlib
import shlex
import subprocess
import sys
import tempfile
from typing import Annotated

import typer

from keras_densenet import data, serving, training
from keras_densenet.cli.common import command, console, run_training
from keras_densenet.console import Table
from keras_densenet.files import written_beside

QUICKSTART = {"depth": 16, "growth_rate": 12}


@command()
def quickstart(
    out: Annotated[pathlib.Path, typer.Option(help="Folder for everything that is made.")] = pathlib.Path("quickstart"),
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 15,
):
    """Train a small DenseNet-BC on handwritten digits, export it, and ask the export for a few digits.

    Example: keras-densenet quickstart
    """
    from PIL import Image

    state = run_training(QUICKSTART, "digits", data.load_digits(), training.Recipe(epochs=epochs, batch_size=32), out)
    model, labels = training.load_model(out)
    target = serving.export_saved_model(model, out / "served", "digits", labels=labels)
    console.print(f"exported to {target}; asking it from a fresh process:")
    test = data.load_digits().test
    probabilities = _ask_fresh_process(target, test.images[:10])
    table = Table("held-out digit", *map(str, range(10)))
    table.add_row("truth", *(state["labels"][label] for label in test.labels[:10]))
    table.add_row("predicted", *(state["labels"][row.argmax()] for row in probabilities))
    table.add_row("probability", *(f"{row.max():.0%}" for row in probabilities))
    console.print(table)
    digit = out / f"held-out-{state['labels'][test.labels[0]]}.png"
    with written_beside(digit) as beside:
        Image.fromarray(test.images[0, ..., 0].astype("uint8")).save(beside)
    console.print(f"Next: {shlex.join(['keras-densenet', 'predict', str(out), str(digit)])}", soft_wrap=True)
    console.print(
        "A picture of your own should look like that one: one digit, bright on black, that fills the picture; invert "
        "dark ink on white paper."
    )


def _ask_fresh_process(folder, images):
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        given, answer = pathlib.Path(scratch, "images.npy"), pathlib.Path(scratch, "probabilities.npy")
        np.save(given, images)
        script = pathlib.Path(serving.__file__).with_name("run_saved_model.py")
        command = [sys.executable, "-I", str(script), str(folder), str(given), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"The exported model in {folder} does not run in a fresh process: {done.stderr[-800:]}")
        return np.load(answer)
