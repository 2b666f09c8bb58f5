"""Learning curves, and how good answers are, as pictures."""

import math

import numpy as np

from keras_densenet.pictures import lettering, new_figure
from keras_densenet.training.metrics import sklearn_metrics

CURVES = {"roc": "auroc", "precision_recall": "average_precision"}  # and the areas under them
_AXES = {"roc": ("1 - specificity", "sensitivity"), "precision_recall": ("sensitivity (recall)", "precision")}
_PANELS = 20


def draw_curves(rows, path):
    """Draws loss, accuracy and what else was validated over the epochs.

    Args:
        rows: a dict of floats per epoch, as in `history.csv`.
        path: of the picture to write.
    """
    epochs = [row["epoch"] for row in rows]
    names = [name.removeprefix("val_") for name in rows[-1] if name.startswith("val_")]
    figure = new_figure(5 * len(names), 4)
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            if column in rows[-1]:
                axes.plot(epochs, [row[column] for row in rows], label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.grid(alpha=0.3)
    figure.axes[0].set_yscale("log")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)


def draw_confusion(confusion, labels, path):
    """Draws a confusion matrix, each row as shares of its true class.

    Args:
        confusion: `(classes, classes)`, images by true class (row) and predicted class.
        labels: names of the classes; one that no installed font can write is drawn as its number.
        path: of the picture to write.
    """
    few, side = len(labels) <= 30, min(4 + 0.4 * len(labels), 16)
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), ax=axes, label="share of the true class")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if few:
        texts, family = lettering(labels)
        texts = [str(index) if text is None else text for index, text in enumerate(texts)]
        axes.set_xticks(range(len(labels)), texts, rotation=90, family=family)
        axes.set_yticks(range(len(labels)), texts, family=family)
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    figure.savefig(path, dpi=120)


def draw_confusions(confusion, labels, path):
    """Draws what was taken for what by label, each row as shares of its truth; of many labels, those with most errors.

    Args:
        confusion: `(labels, 2, 2)`, images by truth (row) and prediction, not there and there.
        labels: names.
        path: of the picture to write.
    """
    counted = confusion.sum((1, 2)) > 0
    errors = np.where(counted, confusion[:, 0, 1] + confusion[:, 1, 0], -1)
    chosen = np.sort(np.argsort(-errors, kind="stable")[: min(counted.sum(), _PANELS)])

    def draw(axes, label):
        shares = confusion[label] / np.maximum(confusion[label].sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks((0, 1), ("called absent", "called present"), fontsize=7)
        axes.set_yticks((0, 1), ("is absent", "is present"), fontsize=7, rotation=90, va="center")
        for (row, column), count in np.ndenumerate(confusion[label]):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=9)

    _draw_panels(chosen, labels, draw, path)


def draw_label_curves(kind, known, areas, labels, path):
    """Draws a curve for each label that has one; of many labels the ten of lowest and the ten of highest area.

    Args:
        kind: "roc" or "precision_recall".
        known: for each label what is there, bool `(images,)`, and its probabilities.
        areas: `(labels,)`, NaN for a label without a curve.
        labels: names.
        path: of the picture to write.
    """
    scores, ranked = sklearn_metrics(), np.argsort(areas)[: np.isfinite(areas).sum()]  # NaN comes last
    few = len(ranked) <= _PANELS
    chosen = np.sort(ranked) if few else [*ranked[: _PANELS // 2], *ranked[-_PANELS // 2 :]]

    def draw(axes, label):
        there, values = known[label]
        if kind == "roc":
            x, y, _ = scores.roc_curve(there, values)
            axes.plot((0, 1), (0, 1), color="0.8", linewidth=0.8)
        else:
            y, x, _ = scores.precision_recall_curve(there, values)
            axes.axhline(there.mean(), color="0.8", linewidth=0.8)
        axes.plot(x, y, drawstyle="default" if kind == "roc" else "steps-post")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.text(0.98, 0.04, f"{areas[label]:.3f}", ha="right", transform=axes.transAxes, fontsize=9)
        axes.tick_params(labelsize=7)

    figure = _draw_panels(chosen, labels, draw)
    figure.supxlabel(_AXES[kind][0], fontsize=9)
    figure.supylabel(_AXES[kind][1], fontsize=9)
    figure.savefig(path, dpi=120)


def draw_reliability(diagrams, path):
    """Draws how often answers of about the same probability are right, and how many there are of each.

    Args:
        diagrams: `(points, error)` by title: of `metrics.reliability`, and the expected calibration error.
        path: of the picture to write.
    """
    figure = new_figure(4.4 * len(diagrams), 5)
    axes = figure.subplots(2, len(diagrams), sharex=True, squeeze=False, height_ratios=(3, 1))
    for (title, (points, error)), (upper, lower) in zip(diagrams.items(), axes.T, strict=True):
        counts, sure, right = points.T
        edges = np.linspace(0, 1, len(points) + 1)
        upper.plot((0, 1), (0, 1), color="0.7", linewidth=0.8)
        upper.bar(edges[:-1], np.nan_to_num(right), 1 / len(points), align="edge", color="tab:blue", alpha=0.3)
        upper.plot(sure, right, "o-", markersize=4)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
        upper.set_title(f"{title}{', ' if title else ''}calibration error {error:.3f}", fontsize=10)
        lower.bar(edges[:-1], counts, 1 / len(points), align="edge", color="0.6")
        lower.set(xlabel="probability", ylabel="answers")
    figure.savefig(path, dpi=120)


def _draw_panels(chosen, labels, draw, path=None):
    """A figure with a panel for each of the chosen labels, which `draw` fills; written where there is a path."""
    columns = max(1, math.ceil(math.sqrt(len(chosen))))
    rows = max(1, math.ceil(len(chosen) / columns))
    figure = new_figure(2.2 * columns + 0.6, 2.3 * rows + 0.4)
    panels = [*figure.subplots(rows, columns, squeeze=False).flat]
    texts, family = lettering([labels[label] for label in chosen])
    for axes, label, text in zip(panels, chosen, texts, strict=False):
        draw(axes, label)
        axes.set_title(str(label) if text is None else text, fontsize=9, family=family)
    for axes in panels[len(chosen) :]:
        axes.axis("off")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure
