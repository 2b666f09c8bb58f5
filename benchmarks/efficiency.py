"""Draws what `benchmarks.accuracy` measured: test accuracy over parameters, MACs and the time of a training step.

    python -m benchmarks.efficiency

Reads every `benchmarks/results/accuracy, DATA.csv` and writes `efficiency, DATA.png` beside it.
"""

from benchmarks.race import RESULTS, console, read
from keras_densenet.explain.drawing import new_figure, save_figure

AXES = {
    "parameters": (1e3, "thousand parameters"),
    "macs": (1e6, "M MACs of one image"),
    "milliseconds_per_step": (1, "ms of a training step"),
}


def draw(rows, path):
    columns = [column for column in AXES if column in rows[0]]
    figure = new_figure(3.4 * len(columns), 3.6)
    for axes, column in zip(figure.subplots(1, len(columns), sharey=True), columns, strict=True):
        unit, label = AXES[column]
        for row in rows:
            point = row[column] / unit, row["test_accuracy"] * 100
            colour = "tab:blue" if row["network"].startswith("DenseNet") else "tab:orange"
            axes.scatter(*point, color=colour, label=row["network"], s=60, zorder=3)
        axes.set_xlim(0, 1.2 * max(row[column] for row in rows) / unit)
        axes.margins(y=0.3)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.axes[0].legend(fontsize=8, loc="lower left")
    save_figure(figure, path)


def main():
    found = sorted(RESULTS.glob("accuracy, *.csv"))
    if not found:
        raise SystemExit(f"There is no table in {RESULTS}: python -m benchmarks.accuracy fashion_mnist makes one")
    for path in found:
        target = path.with_name(f"efficiency{path.stem.removeprefix('accuracy')}.png")
        draw(read(path.stem)[1], target)
        console.print(f"{target.name}", highlight=False)


if __name__ == "__main__":
    main()
