"""Searches under 100,000 parameters against the shape of DenseNet-BC-40-12, scaled to that budget.

    python -m benchmarks.search digits fashion_mnist digits/macs fashion_mnist/asha

30 networks each (Fashion-MNIST: 14x14, 2,000 training images), then the best and the scaled one with three new seeds.
`digits/macs` searches along the front of accuracy and MACs, and trains the front instead; `fashion_mnist/asha` halves,
on 10,000 images, and has one new seed. About a quarter of an hour each on 2 idle cores, half an hour along a front, an
hour with 10,000 images; interrupted and called again, it goes on. The searches are kept in `searches/`, trials and
picture in `benchmarks/results`.
"""

import dataclasses
import shutil
import sys

import rich.console

from benchmarks.race import RESULTS, save
from keras_densenet import data, search, training
from keras_densenet.data.splits import limited
from keras_densenet.search import report

OPTIONS = {"trials": 30, "compare": ["densenet-bc-40-12"], "confirm": 3}
SEARCHES = {  # of images of which size, how many, and with which other options
    "digits": (16, None, {}),
    "fashion_mnist": (14, 2000, {}),
    "digits/macs": (16, None, {"minimise": "macs", "compare": []}),
    "fashion_mnist/asha": (14, 10_000, {"algorithm": "asha", "confirm": 1}),
}
RECIPE = dataclasses.replace(training.RECIPES["short"], epochs=8, warmup_epochs=1.0, xla=False)
BUDGET = search.Budget(max_parameters=100_000)

console = rich.console.Console(width=150)


def main(name):
    (source, *_), (image_size, images, options) = name.split("/"), SEARCHES[name]
    splits = limited(data.load(source, image_size=image_size), images)
    hypermodel = search.DenseNetHyperModel(splits.train.images.shape[1:], len(splits.labels), recipe=RECIPE)
    results = search.search(
        f"searches/benchmark-{name.replace('/', '-')}",
        hypermodel,
        BUDGET,
        splits,
        {"name": source, "image_size": image_size, "images": images},
        console=console,
        **{**OPTIONS, **options},
    )
    results.show(console)
    title = ", ".join(["search", *name.split("/"), "100,000 parameters"])
    save(title, [*report.ranked(results.rows), *results.references])
    shutil.copy(results.folder / "pareto.png", RESULTS / f"{title}.png")


if __name__ == "__main__":
    for name in sys.argv[1:] or SEARCHES:
        main(name)
