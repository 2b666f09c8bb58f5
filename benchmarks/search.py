"""Searches under 100,000 parameters against the shape of DenseNet-BC-40-12, scaled to that budget.

    python -m benchmarks.search digits fashion_mnist digits/macs

30 trials on each data set (Fashion-MNIST: 2,000 training images, 14x14), then the best network and the scaled one with
three new seeds each. `digits/macs` searches along the front of accuracy and MACs, and trains the front instead. About a
quarter of an hour for each on 2 idle cores, half an hour along a front; interrupted and called again, it goes on. The
searches are kept in `searches/`, trials and picture in `benchmarks/results`.
"""

import dataclasses
import shutil
import sys

import rich.console

from benchmarks.race import RESULTS, save
from keras_densenet import data, search, training
from keras_densenet.data.splits import limited
from keras_densenet.search import report

DATA = {"digits": {"image_size": 16, "images": None}, "fashion_mnist": {"image_size": 14, "images": 2000}}
RECIPE = dataclasses.replace(training.RECIPES["short"], epochs=8, warmup_epochs=1.0, xla=False)
BUDGET = search.Budget(max_parameters=100_000)

console = rich.console.Console(width=150)


def main(name, minimise=None):
    options = DATA[name]
    splits = limited(data.load(name, image_size=options["image_size"]), options["images"])
    hypermodel = search.DenseNetHyperModel(splits.train.images.shape[1:], len(splits.labels), recipe=RECIPE)
    results = search.search(
        "-".join(filter(None, ["searches/benchmark", name, minimise])),
        hypermodel,
        BUDGET,
        splits,
        {"name": name, **options},
        trials=30,
        minimise=minimise,
        compare=[] if minimise else ["densenet-bc-40-12"],
        confirm=3,
        console=console,
    )
    results.show(console)
    title = ", ".join(filter(None, ["search", name, minimise, "100,000 parameters"]))
    save(title, [*report.ranked(results.rows), *results.references])
    shutil.copy(results.folder / "pareto.png", RESULTS / f"{title}.png")


if __name__ == "__main__":
    for name in sys.argv[1:] or [*DATA, "digits/macs"]:
        main(*name.split("/"))
