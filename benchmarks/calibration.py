"""How far probabilities are from the truth before and after a temperature: a small network on Fashion-MNIST.

    python -m benchmarks.calibration

Trains on 1,000 images without augmentation, dropout or decay, which makes the network too sure of itself, fits the
temperature on 1,000 other training images, and measures on the 10,000 test images. A few minutes. Called again, it goes
on where it was interrupted: the run is kept in `runs/calibration`. It takes Debian's `dataset-fashion-mnist`, or what
is in `--data-dir`.
"""

import argparse
import pathlib

import rich.table

from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import training
from keras_densenet.data import Split, Splits
from keras_densenet.data.idx import FILES, LABELS, idx_files, read_idx
from keras_densenet.data.named import DEBIAN
from keras_densenet.training.curves import draw_reliability
from keras_densenet.training.metrics import reliability
from keras_densenet.training.progress import ProgressBar

NETWORK = {"blocks": [2, 2, 2], "growth_rate": 8, "stem": "cifar"}
REGULAR = {"augmentation": "none", "dropout_rate": 0.0, "weight_decay": 0.0}
RECIPE = training.Recipe(epochs=50, batch_size=50, warmup_epochs=2.0, xla=False, **REGULAR)
TRAINED, CALIBRATED = 1000, 1000
TITLE, FOLDER = "calibration, fashion_mnist", "runs/calibration"


def load(folder):
    """`Splits` of the first training images, those behind them, and all test images."""
    found = {}
    for name, prefix in FILES.items():
        images, labels = (read_idx(path) for path in idx_files(folder, prefix))
        found[name] = Split(images[..., None], labels.astype("int32"))
    first, behind = slice(TRAINED), slice(TRAINED, TRAINED + CALIBRATED)
    train, validation = (Split(*(part[which] for part in found["train"])) for which in (first, behind))
    return Splits(train, validation, found["test"], list(LABELS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=pathlib.Path, default=DEBIAN, help="folder of the IDX files")
    splits = load(parser.parse_args().data_dir)
    training.train(
        NETWORK, "fashion_mnist", splits, RECIPE, FOLDER, [ProgressBar(console, RECIPE.batch_size, xla=False)]
    )
    model, labels = training.load_model(FOLDER)
    found = {"before": training.evaluate(model, splits.test, labels, 256, resamples=0)}
    decisions = training.calibrate(model, splits.validation, batch_size=256).decisions
    found["after"] = training.evaluate(model, splits.test, labels, 256, resamples=0)
    rows = [
        {
            "when": when,
            "temperature": round(decisions.temperature, 3) if when == "after" else 1.0,
            "calibration_error": round(evaluation.figures["calibration_error"], 4),
            "loss": round(evaluation.loss, 4),
            "test_accuracy": round(evaluation.top1, 4),
        }
        for when, evaluation in found.items()
    ]
    table = rich.table.Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table, machine())
    save(TITLE, rows)
    diagrams = {
        when: (reliability(evaluation.truth, evaluation.probabilities), evaluation.figures["calibration_error"])
        for when, evaluation in found.items()
    }
    draw_reliability(diagrams, RESULTS / f"{TITLE}.png")


if __name__ == "__main__":
    main()
