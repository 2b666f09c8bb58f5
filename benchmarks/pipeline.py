"""Images per second of the input pipeline alone, against the train step: python -m benchmarks.pipeline.

Two minutes. The photos are crops of scikit-learn's two, 500x375 pixels as on ImageNet, as JPEG files.
"""

import csv
import itertools
import pathlib
import tempfile
import time

import numpy as np
import rich.table
import sklearn.datasets
from PIL import Image

from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import data

SECONDS = 4
EXTRAS = {"": {}, ", RandAugment": {"randaugment": 0.5}, ", MixUp + CutMix": {"mixup": 0.2, "cutmix": 1.0}}
STEPS = {"small": ("densenet-bc-100-12", 64), "photos": ("densenet121", 8)}


def main():
    random, rows = np.random.default_rng(0), []
    with tempfile.TemporaryDirectory() as folder:
        cifar = data.Split(random.integers(0, 256, (50000, 32, 32, 3), "uint8"), np.arange(50000, dtype="int32") % 10)
        fashion = data.Split(cifar.images[:, 2:-2, 2:-2, :1].copy(), cifar.labels)
        contests = [
            ("digits 32x32x1", "small", data.load_digits().train, "shift", ("",)),
            ("Fashion-MNIST 28x28x1", "small", fashion, "cifar", ("", ", MixUp + CutMix")),
            ("CIFAR 32x32x3", "small", cifar, "none", ("",)),
            ("CIFAR 32x32x3", "small", cifar, "cifar", EXTRAS),
            ("JPEG files at 224x224x3", "photos", photos(pathlib.Path(folder), random), "imagenet", EXTRAS),
        ]
        for name, step, split, kind, extras in contests:
            for extra in extras:
                network, batch_size = STEPS[step]
                rate = measure(split, batch_size, data.Augmentation(kind, **EXTRAS[extra]))
                row = {"data": name, "augmentation": kind + extra, "batch": batch_size, "images_per_second": rate}
                rows.append({**row, "network": network, "trained_per_second": trained(network, batch_size)})
    table = rich.table.Table("data", "augmentation", "pipeline", "train step", title="images per second")
    for row in rows:
        step = f"{row['trained_per_second']:,.0f} ({row['network']})"
        table.add_row(row["data"], row["augmentation"], f"{row['images_per_second']:,.0f}", step)
    console.print(table, machine())
    save("pipeline", rows)


def measure(split, batch_size, augmentation):
    """Images per second of a training stream, after its first batches."""
    stream, _ = data.training_stream(split, batch_size, seed=0, augmentation=augmentation, classes=10)
    batches, count = iter(stream), 0
    for _ in itertools.islice(batches, 8):  # what prefetching has made beforehand does not count
        pass
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        next(batches)
        count += batch_size
    return count / (time.perf_counter() - started)


def photos(folder, random):
    """A data set of 256 JPEG files in two classes."""
    for label, photo in zip(("china", "flower"), sklearn.datasets.load_sample_images().images, strict=True):
        (folder / label).mkdir()
        for number in range(128):
            y, x = random.integers(0, np.array(photo.shape[:2]) - (375, 500), endpoint=True)
            Image.fromarray(photo[y : y + 375, x : x + 500]).save(folder / label / f"{number}.jpg", quality=90)
    return data.load(folder, image_size=224).train


def trained(network, batch_size):
    """Images per second of our faster train step, as `benchmarks.train_step` found."""
    with open(RESULTS / f"train step, {network}, batch {batch_size}.csv", newline="") as file:
        next(file)  # the machine
        seconds = [float(row["seconds"]) for row in csv.DictReader(file) if row["name"].startswith("keras_densenet")]
    return batch_size / min(seconds)


if __name__ == "__main__":
    main()
