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
        ValueError: if it is no such file, truncated, or of another architecture or another number of classes; the
            model is then as it was.
    """
    path = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(path, str) or not path.endswith(".weights.h5"):
        raise ValueError(f"weights must be None or the path of a .weights.h5 file. Received: weights={path!r}")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no weights file {path!r}: check the path given as weights")
    try:
        with h5py.File(path) as file:
            stored = _layers(file)
    except OSError as error:
        raise ValueError(f"{path!r} is not a complete HDF5 file (truncated or of another format?): {error}") from None
    _check_classes(model, stored, path)
    names = {"classifier", *(stage.name for stage in model.architecture.stages)}  # not what stands before the stem
    layers = [layer for layer in model.layers if layer.weights and layer.name in names]
    for layer in layers:
        expected = {}
        layer.save_own_variables(expected)
        _compare(layer.name, {name: tuple(v.shape) for name, v in expected.items()}, stored.get(layer.name, {}), path)
    for layer in layers:
        layer.load_own_variables(stored[layer.name])


def _layers(file):
    """The tensors in the file, `{name of the layer: {name of the tensor: array}}`."""
    groups = file.get("layers", {}).items()
    return {
        str(group["vars"].attrs.get("name", key)): {name: values[()] for name, values in group["vars"].items()}
        for key, group in groups
        if "vars" in group
    }


def _check_classes(model, stored, path):
    classes = getattr(model.layers[-1], "units", None)
    bias = stored.get("classifier", {}).get("1")
    if classes is not None and bias is not None and len(bias) != classes:
        raise ValueError(
            f"classes must be {len(bias)} for the weights in {path!r}, or load them with include_top=False and call "
            f"reset_classifier. Received: classes={classes}"
        )


def _compare(layer, expected, found, path):
    found = {name: values.shape for name, values in found.items()}
    if found == expected:
        return
    name = next(n for n in sorted({*expected, *found}) if expected.get(n) != found.get(n))
    raise ValueError(
        f"{path!r} holds the weights of another architecture: layer {layer!r} needs {name} of shape "
        f"{expected.get(name, 'none')}. Received: {found.get(name, 'none')}"
    )
