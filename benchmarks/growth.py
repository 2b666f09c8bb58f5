"""How time and memory of a training step grow with depth and growth rate: python -m benchmarks.growth.

DenseNet-BC under XLA, 16 images of 32x32: L = 40, 100, 190 at k = 12, and k = 12, 24, 48 at L = 40, this package
against the ordinary Keras graph, in turns. A quarter of an hour. The buffers are fitted by a + b L + c L^2.
"""

import numpy as np
import rich.table

from benchmarks.race import RESULTS, console, machine, race, save

CONTESTANTS = {"keras_densenet, XLA": "tab:blue", "ordinary Keras, XLA": "tab:gray"}
BATCH_SIZE = 16
SERIES = {"L": [(40, 12), (100, 12), (190, 12)], "k": [(40, 12), (40, 24), (40, 48)]}


def main():
    rows = []
    for depth, k in dict.fromkeys(pair for series in SERIES.values() for pair in series):
        network = {"depth": depth, "growth_rate": k, "classes": 10, "name": f"densenet-bc-{depth}-{k}"}
        rows += [{"L": depth, "k": k, **row} for row in race("train", network, BATCH_SIZE, 5, CONTESTANTS)]
        save("growth", rows)
    table = rich.table.Table("L", "k", "contestant", "step", "buffers", "compilation", title=f"batch {BATCH_SIZE}")
    for row in rows:
        figures = f"{row['seconds']:.3f} s", f"{row['buffers'] / 1e6:,.0f} MB", f"{row['compilation']:.0f} s"
        table.add_row(str(row["L"]), str(row["k"]), row["name"], *figures)
    console.print(table, machine())
    for name in CONTESTANTS:
        share = f"{bend(rows, name):.0%} of its buffers' growth with L is proportional to L^2"
        console.print(f"{name}: {share}", highlight=False)
    _draw(rows)


def bend(rows, name):
    """The share of the square in the growth of a contestant's buffers with depth: 0 if they grow linearly."""
    depths, buffers = _series(rows, name, "L", "buffers")
    square, *_ = np.polyfit(depths, buffers, 2)
    return square * (depths[-1] ** 2 - depths[0] ** 2) / (buffers[-1] - buffers[0])


def _series(rows, name, axis, value):
    found = [(row[axis], row[value]) for row in rows if row["name"] == name and (row["L"], row["k"]) in SERIES[axis]]
    where, values = np.array(sorted(found), float).T
    return where, values / (1e6 if value == "buffers" else 1)


def _draw(rows):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), layout="constrained")
    values = {"buffers": "buffers of a step, MB", "seconds": "seconds of a step"}
    for line, (value, label) in zip(figure.subplots(2, 2), values.items(), strict=True):
        for axes, (axis, title) in zip(
            line, {"L": "depth L, k = 12", "k": "growth rate k, L = 40"}.items(), strict=True
        ):
            for name, colour in CONTESTANTS.items():
                axes.plot(*_series(rows, name, axis, value), "o-", color=colour, label=name)
            axes.set(xlabel=title, ylabel=label, xlim=(0, None), ylim=(0, None))
            axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(f"DenseNet-BC, batch {BATCH_SIZE}, 32x32\n{machine()}", fontsize=9)
    figure.savefig(RESULTS / "growth.png", dpi=110)


if __name__ == "__main__":
    main()
