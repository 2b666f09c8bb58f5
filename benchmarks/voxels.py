"""Real digits that have to be found in noise, in three dimensions and in one: what a small DenseNet learns in minutes.

    python -m benchmarks.voxels

scikit-learn's digits. As volumes: each is a slab, three voxels thick, in a noisy cube of 24^3, at a random depth and
orientation (which of the three axes it is seen along). As signals: its rows one after another, at a random place of a
noisy signal of 384 steps. Each training digit is drawn many times, every time anew, those held out once; no digit is in
two parts, and everything follows from the seed.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import console, machine, save
from keras_densenet import data, training
from keras_densenet.data.splits import Split
from keras_densenet.training.progress import ProgressBar

SIDE, THICKNESS, LENGTH, NOISE = 24, 3, 384, 0.15  # noise: standard deviation, of strokes of at most 1


def volume(digit, random):
    """A digit `(24, 24)` as a slab in a noisy cube, `(24, 24, 24, 1)`."""
    found = NOISE * random.standard_normal((SIDE,) * 3, "float32")
    depth = random.integers(SIDE - THICKNESS + 1)
    np.moveaxis(found, random.integers(3), 0)[depth : depth + THICKNESS] += digit
    return found[..., None]


def signal(digit, random):
    """A digit's rows one after another in a noisy signal, `(384, 1)`."""
    found = NOISE * random.standard_normal(LENGTH, "float32")
    start = random.integers(LENGTH - digit.size + 1)
    found[start : start + digit.size] += digit.ravel()
    return found[:, None]


TITLE = "digits in noise, {}"
RECIPE = training.Recipe(epochs=1, batch_size=32, augmentation="none", dropout_rate=0.0)
TASKS = {  # what draws a digit, of what size, how often; for what network
    "volumes": (volume, SIDE, 40, {"blocks": (3, 6), "growth_rate": 8, "stem": "imagenet"}),
    "signals": (signal, 16, 48, {"blocks": (3, 6, 6), "growth_rate": 12, "stem": "imagenet"}),
}


def drawn(draw, side, copies, seed=0):
    """The digits, enlarged to so many pixels, as `draw` draws them, `Splits`."""
    splits = data.load("digits", image_size=side)
    sizes = draw(np.zeros((side, side)), np.random.default_rng()).shape[:-1]

    def part(number, split, times):
        def read(key):  # draws when a volume is asked for, always the same
            return draw(split.images[key // times, ..., 0] / 255, np.random.default_rng([seed, number, key]))

        keys = np.arange(times * len(split.labels))
        return Split(data.Pictures(keys, data.Framing(sizes, 1), read, "float32"), np.repeat(split.labels, times))

    train, validation, test = (part(number, splits[number], 1 if number else copies) for number in range(3))
    return splits._replace(train=train, validation=validation, test=test, framing=None)


def run(name, seed):
    """Trains on one of `TASKS` -> a row of figures."""
    *drawing, network = TASKS[name]
    splits, recipe = drawn(*drawing, seed), RECIPE.changed(seed=seed)
    cost = kd.cost({**network, "input_shape": splits.train.images.shape[1:], "classes": len(splits.labels)})
    began = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        bar = ProgressBar(console, recipe.batch_size, training.uses_xla(recipe, training.make_strategy()))
        state = training.train(network, name, splits, recipe, pathlib.Path(folder, "run"), [bar])
    seconds, processor = time.perf_counter() - began[0], time.process_time() - began[1]
    return {
        "task": name,
        "shape": "x".join(map(str, splits.train.images.shape[1:])),
        "seed": seed,
        "parameters": cost.trainable_parameters,
        "macs": cost.macs,
        "train": len(splits.train.labels),
        "test": len(splits.test.labels),
        "test_accuracy": round(state["test"]["accuracy"], 4),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    for name in options.tasks:
        rows = [run(name, seed) for seed in options.seeds]
        table = rich.table.Table(*rows[0], title=TITLE.format(name), box=None)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print(table, machine())
        save(TITLE.format(name), rows)


if __name__ == "__main__":
    main()
