"""Learning curves as a picture."""


def draw_curves(rows, path):
    """Draws loss and accuracy over the epochs.

    Args:
        rows: a dict of floats per epoch, as in `history.csv`.
        path: of the picture to write.
    """
    from matplotlib.figure import Figure

    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label in ((name, "training"), (f"val_{name}", "validation")):
            axes.plot(epochs, [row[column] for row in rows], label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    figure.axes[0].set_yscale("log")
    figure.axes[0].legend()
    figure.savefig(path, dpi=120)
