"""Learning curves and confusion matrices as pictures."""

import numpy as np

from keras_densenet.pictures import lettering, new_figure


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
