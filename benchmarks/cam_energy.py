"""Whether Grad-CAM of a digits network highlights the stroke or the border.

    keras-densenet quickstart
    python -m benchmarks.cam_energy quickstart

For every test digit: the mean of the map on the stroke's pixels by its mean on the others, and the share of the map's
energy on the stroke beside the share of pixels that the stroke has, which is what a map that knows nothing would get.
The stroke is what is brighter than half of the brightest pixel. The border is the outermost two pixels.
"""

import argparse

import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet import data, explain, training
from keras_densenet.explain.drawing import new_figure, save_figure

BORDER = 2


def energy(maps, strokes):
    """Mean on the stroke by mean elsewhere, share of the energy on it, and mean on the border by mean inside.

    Args:
        maps: `(images, height, width)`.
        strokes: booleans of that shape.

    Returns:
        Three floats, over all images.
    """
    inside, outside = (np.mean(maps[part]) for part in (strokes, ~strokes))
    border = np.ones(maps.shape[1:], bool)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    totals = maps.sum((1, 2))
    shares = (maps * strokes).sum((1, 2))[totals > 0] / totals[totals > 0]
    return inside / outside, shares.mean(), maps[:, border].mean() / maps[:, ~border].mean()


def draw(name, model, images, labels):
    """One digit of each class, alone and under the maps of each level and method."""
    first = images[[np.flatnonzero(labels == label)[0] for label in range(10)]]
    rows = {"": first[..., 0]}
    for level in explain.flat(model).pyramid_outputs:
        for method in explain.METHODS:
            maps = kd.grad_cam(model, first, level=level, method=method).maps
            rows[f"{level}\n{method}"] = explain.overlay(first, maps)
    figure = new_figure(10, 1.02 * len(rows))
    for row, (label, pictures) in zip(figure.subplots(len(rows), 10), rows.items(), strict=True):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture, cmap="gray")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(label, fontsize=8)
    save_figure(figure, RESULTS / f"{name}.png", dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run on the digits")
    model, test = training.load_model(parser.parse_args().run)[0], data.load_digits().test
    strokes = test.images[..., 0] > 0.5 * test.images.max((1, 2, 3))[:, None, None]
    table = rich.table.Table(
        "level", "method", "stroke / elsewhere", "energy on the stroke", "border / inside", box=None
    )
    rows = []
    for level in explain.flat(model).pyramid_outputs:
        for method in explain.METHODS:
            maps = kd.grad_cam(model, test.images, level=level, method=method).maps
            ratio, share, border = map(float, energy(maps, strokes))
            table.add_row(level, method, f"{ratio:.2f}", f"{share:.1%}", f"{border:.2f}")
            figures = {"stroke_over_elsewhere": ratio, "energy_on_stroke": share, "border_over_inside": border}
            rows.append({"level": level, "method": method, **figures, "stroke_pixels": float(strokes.mean())})
    console.print(table, f"{len(strokes)} test digits; the stroke has {strokes.mean():.1%} of the pixels. {machine()}")
    save("grad-cam, digits", rows)
    draw("grad-cam, digits", model, test.images, test.labels)


if __name__ == "__main__":
    main()
