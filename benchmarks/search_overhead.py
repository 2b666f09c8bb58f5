"""What a search adds to its trainings, over 30 tiny trials in one process: python -m benchmarks.search_overhead."""

import statistics
import tempfile
import time

import numpy as np
import psutil
import rich.console

from benchmarks.race import save
from keras_densenet import search, training
from keras_densenet.data import Split, Splits
from keras_densenet.search import tuner

TRIALS, POINTS = 30, 1000


class Noting(rich.console.Console):
    """Notes the resident memory, and the time that was not spent on training, whenever a trial has ended."""

    def __init__(self):
        super().__init__(quiet=True)
        self.rows, self.training, self.began = [], 0, time.monotonic()

    def train(self, *arguments, train=tuner._train, **options):
        began = time.monotonic()
        state = train(*arguments, **options)
        self.training += time.monotonic() - began
        return state

    def print(self, *lines, **options):
        if "val_accuracy" in str(lines[0]):
            megabytes, now = round(psutil.Process().memory_info().rss / 1e6), time.monotonic()
            besides = round(now - self.began - self.training, 2)
            self.rows.append({"trial": len(self.rows) + 1, "resident_megabytes": megabytes, "seconds_besides": besides})
            self.began, self.training = now, 0


def main():
    random = np.random.default_rng(0)
    part = Split(random.uniform(0, 255, (64, 12, 12, 1)).astype("float32"), np.arange(64, dtype="int32") % 2)
    splits = Splits(part, part, part, ["even", "odd"])
    recipe = training.Recipe(epochs=1, batch_size=16, augmentation="none", xla=False)
    hypermodel = search.DenseNetHyperModel((12, 12, 1), 2, blocks="1:2 1:2", growth_rate="4:12:1", recipe=recipe)
    for algorithm in ("random", "bayesian"):
        tuner._train = (noting := Noting()).train
        with tempfile.TemporaryDirectory() as folder:
            options = {"algorithm": algorithm, "trials": TRIALS, "console": noting}
            search.search(f"{folder}/search", hypermodel, search.Budget(), splits, {"name": "noise"}, **options)
        save(f"search, overhead, {algorithm}", noting.rows)
        resident = [row["resident_megabytes"] for row in noting.rows]
        growth = (resident[-1] - resident[2]) / (TRIALS - 3)
        print(f"{algorithm}: {resident[2]} MB after 3 trials, {resident[-1]} MB after {TRIALS}: {growth:.1f} MB each")
        besides = [row["seconds_besides"] for row in noting.rows]
        print(f"{statistics.median(besides)} s a trial besides training, {max(besides)} s at most")
    oracle = search.ALGORITHMS["random"](hypermodel, search.Budget(), seed=1)
    oracle.budget = search.Budget(max_parameters=1, max_macs=1, max_activation_bytes=1)
    began = time.monotonic()
    rejected = sum(not oracle.admits(oracle.draw()) for _ in range(POINTS))
    print(f"{(time.monotonic() - began) / POINTS * 1e3:.3f} ms to draw and reject one of {rejected} points")


if __name__ == "__main__":
    main()
