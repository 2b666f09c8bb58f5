"""The gradient that reaches each layer of a DenseNet, a ResNet and a plain chain of the same depth, on real digits.

    python -m benchmarks.gradient_flow

The three differ in how their layers (BN - ReLU - 3x3 convolution) are wired and in nothing else: same stem, same
transitions between three stages. Measured are the norms of the gradients of all 3x3 kernels on one batch, at the start
and after an epoch, for three seeds. Two minutes.
"""

import argparse

import keras
import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import data, explain
from keras_densenet.explain.drawing import new_figure, save_figure

WIRINGS = {"DenseNet": "tab:blue", "ResNet": "tab:orange", "plain chain": "tab:gray"}
SIZE = 16  # twice the digits' own
MOMENTS = ("at the start", "after an epoch")


def build(wiring, depth, shape, classes):
    """A network of so many layers; the dense one has 12 channels a layer, the others have 16, 32 and 64."""
    if wiring == "DenseNet":
        network = {"depth": depth, "growth_rate": 12, "bottleneck": False, "theta": 1.0}
        return kd.DenseNet(**network, input_shape=shape, classes=classes)
    he = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")

    def layer(x, filters, size=3):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
        return keras.layers.Conv2D(filters, size, padding="same", use_bias=False, kernel_initializer=he)(x)

    image = keras.Input(shape)
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False, kernel_initializer=he)(image)
    for stage in range(3):
        if stage:
            x = keras.layers.AveragePooling2D(2)(layer(x, 16 * 2**stage, 1))
        for _ in range((depth - 4) // 6):
            y = layer(layer(x, x.shape[-1]), x.shape[-1])
            x = keras.layers.Add()([x, y]) if wiring == "ResNet" else y
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(classes, "softmax")(x), name=wiring.replace(" ", "_"))


def measure(wiring, depth, seed, splits):
    """Rows of gradients at the start and after an epoch, and the accuracy on the validation images then."""
    keras.utils.set_random_seed(seed)
    mean, std = data.mean_and_std(splits.train)
    images, validation = ((part.images - mean) / std for part in (splits.train, splits.validation))
    model = build(wiring, depth, images.shape[1:], len(splits.labels))
    model.compile(
        keras.optimizers.SGD(0.1, 0.9, nesterov=True), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    rows = []
    for moment in MOMENTS:
        if moment != MOMENTS[0]:
            model.fit(images, splits.train.labels, 32, verbose=0)
        found = explain.gradient_flow(model, images[:128], splits.train.labels[:128])
        kernels = [kernel for kernel in found if kernel.shape[:2] == (3, 3)]
        for index, kernel in enumerate(kernels, 1):
            row = {"network": wiring, "seed": seed, "moment": moment, "layer": index, "of": len(kernels)}
            rows.append({**row, "norm": kernel.norm, "relative": kernel.relative})
    return rows, model.evaluate(validation, splits.validation.labels, verbose=0)[1]


def curves(rows, wiring, moment, name):
    """`(seeds, layers)`."""
    seeds = sorted({row["seed"] for row in rows})
    chosen = [row for row in rows if (row["network"], row["moment"]) == (wiring, moment)]
    return np.array([[row[name] for row in chosen if row["seed"] == seed] for seed in seeds])


def thirds(values):
    """The geometric means of the first and of the last third of the layers, over all seeds."""
    third = values.shape[1] // 3
    return [float(np.exp(np.log(part).mean())) for part in (values[:, :third], values[:, -third:])]


def draw(title, rows):
    figure = new_figure(10, 4)
    for axes, moment in zip(figure.subplots(1, 2, sharey=True), MOMENTS, strict=True):
        for wiring, colour in WIRINGS.items():
            values = curves(rows, wiring, moment, "norm")
            layers = np.arange(1, values.shape[1] + 1)
            axes.plot(layers, np.exp(np.log(values).mean(0)), color=colour, label=wiring)
            axes.fill_between(layers, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)
        axes.set_yscale("log")
        axes.set_xlabel("3x3 convolution, from the image to the classifier")
        axes.set_title(moment, fontsize=10)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("norm of the kernel's gradient")
    figure.axes[0].legend()
    save_figure(figure, RESULTS / f"{title}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=40, help="6n + 4")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options, splits, rows, accuracies = parser.parse_args(), data.load("digits", image_size=SIZE), [], {}
    for wiring in WIRINGS:
        for seed in options.seeds:
            found, accuracy = measure(wiring, options.depth, seed, splits)
            rows += found
            accuracies.setdefault(wiring, []).append(accuracy)
            console.print(f"{wiring}, seed {seed}: validation accuracy {accuracy:.1%} after an epoch", highlight=False)
    columns = "network", "moment", "first third", "last third", "first / last", "relative: first / last", "accuracy"
    table = rich.table.Table(*columns, title=f"gradients of the 3x3 kernels, L = {options.depth}", box=None)
    for wiring in WIRINGS:
        for moment in MOMENTS:
            first, last = thirds(curves(rows, wiring, moment, "norm"))
            relative = thirds(curves(rows, wiring, moment, "relative"))
            figures = f"{first:.3g}", f"{last:.3g}", f"{first / last:.3g}", f"{relative[0] / relative[1]:.3g}"
            accuracy = "" if moment == MOMENTS[0] else f"{np.mean(accuracies[wiring]):.1%}"
            table.add_row(wiring, moment, *figures, accuracy)
    console.print(table, f"geometric means over the layers and {len(options.seeds)} seeds. {machine()}")
    title = f"gradient flow, L = {options.depth}"
    save(title, rows)
    draw(title, rows)


if __name__ == "__main__":
    main()
