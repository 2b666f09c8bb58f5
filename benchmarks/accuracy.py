"""Accuracy of a DenseNet-BC and of a ResNet with no fewer parameters: same data, recipe, seed and number of epochs.

    python -m benchmarks.accuracy fashion_mnist --blocks 2 6 10 --growth-rate 12 --epochs 16

An hour. Called again with the same arguments, it goes on where it was interrupted. The runs are kept in `runs/accuracy`
(a run that `keras-densenet train --out runs/accuracy/densenet-bc` made with the same arguments counts), the table in
`benchmarks/results`.
"""

import argparse
import dataclasses
import functools
import math
import pathlib
import shutil
import statistics
import timeit

import keras
import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import data, training
from keras_densenet.training.progress import ProgressBar


def resnet(blocks, dropout_rate, input_tensor, classes, width=16):
    """The pre-activation ResNet for small images, of Keras' own layers: three stages of so many blocks.

    Source: "Identity mappings in deep residual networks" (He et al., 2016), appendix.
    """

    def convolve(x, filters, size, strides=1):
        he = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        return keras.layers.Conv2D(filters, size, strides, "same", use_bias=False, kernel_initializer=he)(x)

    def norm_relu(x):
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))

    x = convolve(input_tensor, width, 3)
    for stage in range(3):
        for block in range(blocks):
            filters, strides = width * 2**stage, 2 if stage and not block else 1
            y = norm_relu(x)
            if x.shape[-1] != filters:
                x = convolve(y, filters, 1, strides)
            y = norm_relu(convolve(y, filters, 3, strides))
            if dropout_rate:
                y = keras.layers.Dropout(dropout_rate)(y)
            x = keras.layers.Add()([x, convolve(y, filters, 3)])
    x = keras.layers.GlobalAveragePooling2D()(norm_relu(x))
    outputs = keras.layers.Dense(classes, "softmax", dtype="float32")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), outputs, name="resnet")


def figures(model):
    """Trainable parameters and MACs of a network, counted layer by layer."""
    macs = 0
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
            places = layer.output.shape[1] * layer.output.shape[2] if isinstance(layer, keras.layers.Conv2D) else 1
            macs += places * math.prod(layer.kernel.shape)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights), macs


def smallest_resnet(parameters, shape, classes):
    """The arguments, parameters and MACs of the smallest `resnet` that has so many parameters."""
    for blocks in range(1, 100):
        found = figures(resnet(blocks, 0.0, keras.Input(shape), classes))
        if found[0] >= parameters:
            return {"blocks": blocks}, *found
    raise ValueError(f"No ResNet of this width has {parameters:,} parameters: choose a smaller DenseNet")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 6, 10])
    parser.add_argument("--growth-rate", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--augmentation", default="cifar")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default="runs/accuracy")
    options = parser.parse_args()
    recipe = dataclasses.replace(
        training.RECIPES["short"], epochs=options.epochs, augmentation=options.augmentation, seed=options.seed
    )
    splits = data.load(options.data)
    shape, classes = tuple(splits.train.images.shape[1:]), len(splits.labels)
    dense = {"blocks": options.blocks, "growth_rate": options.growth_rate}
    dense |= {"theta": 0.5, "bottleneck": True, "stem": "cifar"}
    cost = kd.cost({**dense, "input_shape": shape, "classes": classes})
    small, *counts = smallest_resnet(cost.trainable_parameters, shape, classes)
    blocks = "-".join(map(str, options.blocks))
    contestants = {
        f"DenseNet-BC, blocks {blocks}, k={options.growth_rate}": (
            dense,
            kd.DenseNet,
            cost.trainable_parameters,
            cost.macs,
        ),
        f"ResNet, L={6 * small['blocks'] + 2}": (small, resnet, *counts),
    }
    milliseconds, rows = step_milliseconds(contestants.values(), shape, classes, recipe), []
    for (name, (network, constructor, parameters, macs)), step in zip(contestants.items(), milliseconds, strict=True):
        short = name.split(",")[0].lower()
        console.print(f"{name}: {options.out / short}", highlight=False)
        bar = ProgressBar(console, recipe.batch_size)
        state = training.train(
            network, options.data, splits, recipe, options.out / short, [bar], constructor=constructor
        )
        keep = RESULTS / f"accuracy, {options.data}" / short
        keep.mkdir(parents=True, exist_ok=True)
        for file in ("run.json", "history.csv", "curves.png"):
            shutil.copy(options.out / short / file, keep)
        minutes = round(state["training_seconds"] / 60, 1)
        rows.append({"network": name, "parameters": parameters, "macs": macs, "milliseconds_per_step": step})
        rows[-1] |= {
            "epochs": recipe.epochs,
            "test_accuracy": state["test"]["accuracy"],
            "minutes_of_training": minutes,
        }
    table = rich.table.Table("network", "parameters", "MACs", "ms per step", "test accuracy", "minutes", box=None)
    for row in rows:
        figures = f"{row['parameters']:,}", f"{row['macs'] / 1e6:,.1f} M", f"{row['milliseconds_per_step']:.0f}"
        table.add_row(row["network"], *figures, f"{row['test_accuracy']:.2%}", f"{row['minutes_of_training']:.1f}")
    console.print(table, f"{recipe.epochs} epochs, {recipe.batch_size} images a step. {machine()}")
    save(f"accuracy, {options.data}", rows)


def step_milliseconds(contestants, shape, classes, recipe, rounds=9):
    """Median milliseconds of a training step under XLA of each network, the networks taking turns."""
    random = np.random.default_rng(0)
    images = random.normal(size=(recipe.batch_size, *shape)).astype("float32")
    labels, models = random.integers(0, classes, recipe.batch_size), []
    for network, constructor, *_ in contestants:
        arguments = {**network, "dropout_rate": recipe.dropout}
        models.append(constructor(**arguments, input_tensor=keras.Input(shape), classes=classes))
        models[-1].compile(recipe.optimizer(1), "sparse_categorical_crossentropy", jit_compile=True)
        models[-1].train_on_batch(images, labels)
    seconds = [
        [timeit.timeit(functools.partial(model.train_on_batch, images, labels), number=1) for model in models]
        for _ in range(rounds)
    ]
    return [round(statistics.median(times) * 1e3, 1) for times in zip(*seconds, strict=True)]


if __name__ == "__main__":
    main()
