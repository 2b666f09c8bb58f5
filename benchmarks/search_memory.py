"""Resident memory over 30 tiny trials in one process: python -m benchmarks.search_memory."""

import tempfile

import numpy as np
import psutil
import rich.console

from benchmarks.race import save
from keras_densenet import search, training
from keras_densenet.data import Split, Splits

TRIALS = 30


class Noting(rich.console.Console):
    """Notes the resident memory whenever a trial has ended."""

    def __init__(self):
        super().__init__(quiet=True)
        self.rows = []

    def print(self, *lines, **options):
        if "val_accuracy" in str(lines[0]):
            megabytes = round(psutil.Process().memory_info().rss / 1e6)
            self.rows.append({"trial": len(self.rows) + 1, "resident_megabytes": megabytes})


def main():
    random = np.random.default_rng(0)
    part = Split(random.uniform(0, 255, (64, 12, 12, 1)).astype("float32"), np.arange(64, dtype="int32") % 2)
    splits = Splits(part, part, part, ["even", "odd"])
    recipe = training.Recipe(epochs=1, batch_size=16, augmentation="none", xla=False)
    hypermodel = search.DenseNetHyperModel((12, 12, 1), 2, blocks="1:2 1:2", growth_rate="4:12:1", recipe=recipe)
    noting = Noting()
    with tempfile.TemporaryDirectory() as folder:
        options = {"algorithm": "random", "trials": TRIALS, "console": noting}
        search.search(f"{folder}/search", hypermodel, search.Budget(), splits, {"name": "noise"}, **options)
    save("search, resident memory", noting.rows)
    resident = [row["resident_megabytes"] for row in noting.rows]
    growth = (resident[-1] - resident[2]) / (TRIALS - 3)
    print(f"{resident[2]} MB after 3 trials, {resident[-1]} MB after {TRIALS}: {growth:.1f} MB each")


if __name__ == "__main__":
    main()
