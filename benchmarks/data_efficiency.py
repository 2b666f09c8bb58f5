"""Accuracy from 5, 10, 25 and 100 % of the training digits: a DenseNet-BC and a ResNet with no fewer parameters.

    python -m benchmarks.data_efficiency

Every run takes the same number of updates: a part of the training images is repeated to the length of all. Seeds draw
the part (of every class its share), the weights, the order and the shifts. Called again, it goes on where it was
interrupted: the runs are kept in `runs/data_efficiency`. Five minutes.
"""

import argparse
import dataclasses
import statistics

import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.accuracy import resnet, smallest_resnet
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import data, training
from keras_densenet.data.splits import hold_out, subset
from keras_densenet.explain.drawing import new_figure, save_figure

SIZE = 16  # twice the digits' own
SHARES = (0.05, 0.1, 0.25, 1.0)
DENSE = {"depth": 22, "growth_rate": 12}
RECIPE = training.Recipe(epochs=5, batch_size=32, warmup_epochs=1.0, xla=False)


def part(splits, share, seed):
    """The data set with a share of its training images, repeated to the length of all of them."""
    count = len(splits.train.labels)
    kept = splits.train if share == 1 else hold_out(splits.train, share, seed)[1]
    order = np.random.default_rng(seed).permutation(len(kept.labels))
    return splits._replace(train=subset(kept, np.resize(order, count))), len(kept.labels)


def contestants(shape, classes):
    """`{name: (arguments, constructor, parameters, MACs)}`."""
    cost = kd.cost({**DENSE, "input_shape": shape, "classes": classes})
    arguments, parameters, macs = smallest_resnet(cost.trainable_parameters, shape, classes)
    return {
        f"DenseNet-BC, L={DENSE['depth']}, k={DENSE['growth_rate']}": (
            DENSE,
            kd.DenseNet,
            cost.trainable_parameters,
            cost.macs,
        ),
        f"ResNet, L={6 * arguments['blocks'] + 2}": (arguments, resnet, parameters, macs),
    }


def run(seeds):
    """Trains all, or reads what is trained: a row for each run."""
    splits, rows = data.load("digits", image_size=SIZE), []
    networks = contestants(splits.train.images.shape[1:], len(splits.labels))
    for seed in seeds:
        for share in SHARES:
            some, count = part(splits, share, seed)
            for name, (arguments, constructor, parameters, macs) in networks.items():
                folder = f"runs/data_efficiency/{name.split(',')[0].lower()}-{share:g}-{seed}"
                recipe = dataclasses.replace(RECIPE, seed=seed)
                state = training.train(arguments, "digits", some, recipe, folder, constructor=constructor)
                row = {"network": name, "parameters": parameters, "macs": macs, "share": share, "images": count}
                accuracy, seconds = state["test"]["accuracy"], state["training_seconds"]
                rows.append({**row, "seed": seed, "test_accuracy": round(accuracy, 4), "seconds": seconds})
                console.print(f"{name}: {count} images, seed {seed}: {accuracy:.2%}, {seconds} s", highlight=False)
    return rows


def figures(rows, name, share):
    """Training images, mean test accuracy and its standard deviation over the seeds."""
    chosen = [row for row in rows if (row["network"], row["share"]) == (name, share)]
    found = [row["test_accuracy"] for row in chosen]
    return chosen[0]["images"], statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0


def draw(title, rows, names):
    figure = new_figure(7, 4.2)
    axes = figure.subplots()
    for name, colour in zip(names, ("tab:blue", "tab:orange"), strict=True):
        counts, means, spreads = zip(*(figures(rows, name, share) for share in SHARES), strict=True)
        (row, *_) = (row for row in rows if row["network"] == name)
        label = f"{name}: {row['parameters']:,} parameters, {row['macs'] / 1e6:.0f} M MACs"
        options = {"marker": "o", "capsize": 4, "color": colour, "label": label}
        axes.errorbar(counts, np.array(means) * 100, np.array(spreads) * 100, **options)
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count}\n{share:.0%}" for count, share in zip(counts, SHARES, strict=True)])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    save_figure(figure, RESULTS / f"{title}.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    rows = run(parser.parse_args().seeds)
    names = list(dict.fromkeys(row["network"] for row in rows))
    table = rich.table.Table("training images", *names, title="test accuracy, mean and deviation", box=None)
    for share in SHARES:
        found = [figures(rows, name, share) for name in names]
        table.add_row(f"{found[0][0]} ({share:.0%})", *(f"{mean:.2%} ± {spread:.2%}" for _, mean, spread in found))
    console.print(table, machine())
    save("data efficiency, digits", rows)
    draw("data efficiency, digits", rows, names)


if __name__ == "__main__":
    main()
