"""Tiny runs in processes of their own, which tests may kill."""

import csv
import json
import multiprocessing
import os
import time

import keras
import numpy as np

from keras_densenet.data import Split, Splits
from keras_densenet.training import Recipe, make_strategy, train

NETWORK = {"blocks": (1, 1), "growth_rate": 4, "stem": "cifar"}
RECIPE = Recipe(epochs=3, batch_size=16, warmup_epochs=1, xla=False, seed=3)

# Processes are forked from one that has imported TensorFlow and done nothing else.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def stripes():
    """96 small images of two classes: stripes along and across."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 60, (96, 12, 12, 1)).astype("float32")
    labels = np.arange(96, dtype="int32") % 2
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    parts = [Split(images[part], labels[part]) for part in (slice(64), slice(64, 80), slice(80, 96))]
    return Splits(*parts, labels=["along", "across"])


def striped_labels(splits):
    """The same as many labels, across and along, of which every fifth is unknown."""

    def many(split):
        labels = np.eye(2, dtype="int8")[split.labels]
        labels.reshape(-1)[::5] = -1
        return split._replace(labels=labels)

    return Splits(*map(many, splits[:3]), labels=splits.labels)


def history(folder):
    """The rows of a run's `history.csv`, dicts of text."""
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


class Slow(keras.callbacks.Callback):
    """Takes its time for every step, and tells how many this process has taken: as many bytes has `running`."""

    def __init__(self, seconds, folder):
        super().__init__()
        self.seconds, self.folder = seconds, folder

    def on_train_batch_end(self, batch, logs=None):
        with open(self.folder / "running", "ab") as file:
            file.write(b".")
        time.sleep(self.seconds)


def run(folder, recipe, strategy="none", ports=(), index=0, seconds_per_step=0.0, many=False):
    """Trains on stripes as one class or `many` labels; `ports` are those of a cluster's workers, `index` this one's."""
    if ports:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    if strategy == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = make_strategy(strategy, sync_statistics=True)
    splits = striped_labels(stripes()) if many else stripes()
    train(NETWORK, "stripes", splits, recipe, folder, [Slow(seconds_per_step, folder)], strategy)
