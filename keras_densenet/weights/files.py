"""This package's own weights files: Keras' `.weights.h5`, every tensor under its name."""

import os

import h5py


def load_file(model, path):
    """Loads a `.weights.h5` file into a model of the same architecture.

    Args:
        model: the model, built.
        path: what `model.save_weights(path)` wrote. The classifier's weights are left alone where the model has none.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no such file, truncated, or of another architecture or another number of classes.
    """
    path = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(path, str) or not path.endswith(".weights.h5"):
        raise ValueError(f"weights must be None or the path of a .weights.h5 file. Received: weights={path!r}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weights file {path!r}: check the path given as weights")
    try:
        with h5py.File(path) as file:
            stored = _classes(file)
    except OSError as error:
        raise ValueError(f"{path!r} is not a complete HDF5 file (truncated or of another format?): {error}") from None
    classes = getattr(model.layers[-1], "units", None)
    if classes is not None and stored is not None and classes != stored:
        raise ValueError(
            f"classes must be {stored} for the weights in {path!r}, or load them with include_top=False and call "
            f"reset_classifier. Received: classes={classes}"
        )
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path!r} does not hold the weights of {model.name!r}: {error}") from None


def _classes(file):
    bias = file.get("layers/dense/vars/1")
    return None if bias is None else bias.shape[0]
