"""Accuracy of a DenseNet-BC and of a ResNet with no fewer parameters: same data, recipe, seed and number of epochs.

    python -m benchmarks.accuracy fashion_mnist --depth 22 --growth-rate 16 --epochs 12

Called again with the same arguments, it goes on where it was interrupted. The runs are kept in `runs/accuracy`, the
table and each run's record (`history.csv`, `curves.png`, `run.json`) in `benchmarks/results`.
"""

import argparse
import csv
import dataclasses
import math
import pathlib
import shutil

import keras
import rich.console
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS
from keras_densenet import data, training
from keras_densenet.training.progress import ProgressBar

console = rich.console.Console(width=150)


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
    parser.add_argument("--depth", type=int, default=22)
    parser.add_argument("--growth-rate", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--augmentation", default="cifar")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    recipe = dataclasses.replace(
        training.RECIPES["short"], epochs=options.epochs, augmentation=options.augmentation, seed=options.seed
    )
    splits = data.load(options.data)
    shape, classes = tuple(splits.train.images.shape[1:]), len(splits.labels)
    dense = {"depth": options.depth, "growth_rate": options.growth_rate}
    cost = kd.cost({**dense, "input_shape": shape, "classes": classes})
    small, *counts = smallest_resnet(cost.trainable_parameters, shape, classes)
    rows, title = [], f"accuracy, {options.data}, {options.epochs} epochs"
    for name, network, constructor, (parameters, macs) in (
        (
            f"DenseNet-BC, L={options.depth}, k={options.growth_rate}",
            dense,
            kd.DenseNet,
            (cost.trainable_parameters, cost.macs),
        ),
        (f"ResNet, L={6 * small['blocks'] + 2}", small, resnet, counts),
    ):
        kind = name.split(",")[0].lower()
        out = f"runs/accuracy/{options.data}-{kind}-{options.epochs}-{options.seed}"
        console.print(f"{name}: {out}", highlight=False)
        bar = ProgressBar(console, recipe.batch_size)
        state = training.train(network, options.data, splits, recipe, out, [bar], constructor=constructor)
        accuracy, minutes = state["test"]["accuracy"], state["training_seconds"] / 60
        rows.append((name, parameters, macs, round(accuracy, 4), round(minutes, 1)))
        record = RESULTS / title / kind
        record.mkdir(parents=True, exist_ok=True)
        for file in ("history.csv", "curves.png", "run.json"):
            shutil.copy(pathlib.Path(out, file), record)
    table = rich.table.Table("network", "parameters", "MACs", "test accuracy", "minutes of training", box=None)
    for name, parameters, macs, accuracy, minutes in rows:
        table.add_row(name, f"{parameters:,}", f"{macs / 1e6:,.1f} M", f"{accuracy:.2%}", f"{minutes:.1f}")
    console.print(table)
    with open(RESULTS / f"{title}.csv", "w", newline="") as file:
        csv.writer(file).writerows([("network", "parameters", "macs", "test_accuracy", "minutes"), *rows])


if __name__ == "__main__":
    main()
