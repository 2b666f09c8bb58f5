"""Draws how four layers are wired in a plain chain, a ResNet and a dense block: python -m benchmarks.wiring."""

import itertools
import pathlib

from keras_densenet.explain.drawing import colours, new_figure, save_figure

LAYERS, GROWTH, START = 4, 1.0, 2.0
PICTURE = pathlib.Path(__file__).parents[1] / "docs" / "wiring.png"


def draw(axes, title, widths, edges, formula):
    """Features as bars of their width, and an arc for every pair `(source, reader)`."""
    for index, parts in enumerate(widths):
        low = 0.0
        for source, width in parts:
            colour = "0.8" if source == 0 else colours(0.12 + 0.76 * (source - 0.5) / LAYERS) / 255
            axes.bar(index, width, 0.34, low, color=colour, edgecolor="white", linewidth=0.8)
            low += width
        axes.text(index, -0.25, f"$x_{index}$", ha="center", va="top", fontsize=10)
    for source, reader in edges:
        direct = reader == source + 1
        style = "arc3" if direct else f"arc3,rad={-0.28 - 0.05 * (reader - source):.2f}"
        arrow = {"arrowstyle": "-|>", "connectionstyle": style, "color": "0.25", "linewidth": 1, "shrinkA": 0}
        y = 0.5 if direct else sum(width for _, width in widths[source]) + 0.12
        end = 0.5 if direct else sum(width for _, width in widths[reader]) + 0.12
        axes.annotate("", (reader - 0.19 * direct, end), (source + 0.19 * direct, y), arrowprops=arrow)
    axes.set_title(f"{title}\n{formula}", fontsize=10)
    axes.set(xlim=(-0.5, LAYERS + 0.5), ylim=(-0.9, 7.4))
    axes.axis("off")


def main():
    figure = new_figure(11, 3.6)
    chain, residual, dense = figure.subplots(1, 3)
    steps, whole = [*itertools.pairwise(range(LAYERS + 1))], START + GROWTH
    draw(chain, "plain chain", [[(i, whole)] for i in range(LAYERS + 1)], steps, "$x_l = H_l(x_{l-1})$")
    sums = [[(i, whole)] for i in range(LAYERS + 1)]
    skips = [(0, 2), (2, 4)]
    draw(residual, "ResNet: sums", sums, steps + skips, "$x_l = x_{l-2} + H_l(H_{l-1}(x_{l-2}))$")
    grown = [[(0, START), *((i, GROWTH) for i in range(1, index + 1))] for index in range(LAYERS + 1)]
    pairs = [*itertools.combinations(range(LAYERS + 1), 2)]
    draw(dense, "dense block: concatenation", grown, pairs, "$x_l = H_l([x_0, x_1, \\ldots, x_{l-1}])$")
    save_figure(figure, PICTURE)


if __name__ == "__main__":
    main()
