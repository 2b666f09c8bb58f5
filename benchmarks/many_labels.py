"""Many labels on real pixels, some of them unknown: two or three digits in a picture, each of which is a label.

    python -m benchmarks.many_labels

Two trainings of a small DenseNet-BC, a few minutes on idle cores: all ten digits are labels, each in a quarter of the
pictures; and five of them that are in 2 % of the pictures each, with class weights. 15 % of the labels are unknown. The
runs are kept in `runs/many_labels`, the table in `benchmarks/results`; interrupted and called again, it goes on.
"""

import dataclasses
import pathlib

import rich.table

import keras_densenet as kd
from benchmarks.race import console, machine, save
from keras_densenet import training
from keras_densenet.training.progress import ProgressBar
from tests import many

NETWORK = {"depth": 22, "growth_rate": 12}
RECIPE = training.Recipe(epochs=10, warmup_epochs=1.0, augmentation="none", dropout_rate=0.0, batch_size=64)
WEIGHED = dataclasses.replace(RECIPE, class_weights="balanced")
SETS = {"frequent": (4000, 600, 1000, None), "rare": (8000, 2000, 4000, 0.02)}
RUNS = [("frequent", RECIPE), ("rare", WEIGHED)]


def main():
    rows = []
    for name, recipe in RUNS:
        *counts, rare = SETS[name]
        splits = many.splits(*counts, rare=rare)
        title = f"{name}, class weights {recipe.class_weights}"
        console.print(title, highlight=False)
        bar = ProgressBar(console, recipe.batch_size)
        state = training.train(NETWORK, name, splits, recipe, pathlib.Path("runs/many_labels") / title, [bar])
        costs = kd.cost({**NETWORK, "input_shape": splits.train.images.shape[1:], "classes": len(splits.labels)})
        positive = (splits.train.labels == 1).sum() / (splits.train.labels >= 0).sum()
        row = {"labels": name, "positive": round(float(positive), 4), "class_weights": recipe.class_weights}
        row |= {"parameters": costs.trainable_parameters, "images": len(splits.train.labels), "epochs": recipe.epochs}
        figures = {f"test_{measure}": round(state["test"][measure], 4) for measure in ("auroc", "average_precision")}
        rows.append(row | {"seconds_of_training": state["training_seconds"]} | figures)
    table = rich.table.Table(*(name.replace("_", " ") for name in rows[0]), box=None)
    for row in rows:
        table.add_row(*map(str, row.values()))
    console.print(table, machine())
    save("many labels", rows)


if __name__ == "__main__":
    main()
