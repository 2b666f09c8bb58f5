"""Writing a SavedModel where TensorFlow Serving looks for it."""

import pathlib

import keras
import tensorflow as tf

from keras_densenet.files import written_beside
from keras_densenet.models import fold


def export_saved_model(model, base_path, name=None, version=None, folded=True):
    """Writes `<base_path>/<name>/<version>/` completely beside and renames it: a polling server never sees half.

    The signature `serving_default` takes `image`, `(batch, height, width, channels)` float32 as the model takes it, and
    gives `probabilities`, `(batch, classes)` (the model's output, whatever its activation).

    Args:
        model: a model with one image input and one output.
        base_path: folder of all served models.
        name: of the model. Default: `model.name`.
        version: a whole number >= 1. Default: one more than the highest there.
        folded: whether to write the inference form that `fold` makes, which has the same outputs to rounding.

    Returns:
        The `pathlib.Path` of the version.

    Raises:
        ValueError: for a bad version, or a model in which there is nothing to fold.
        FileExistsError: if the version is there already.
    """
    parent = pathlib.Path(base_path) / (name or model.name)
    if version is None:
        there = [int(path.name) for path in parent.glob("*") if path.name.isdecimal()]
        version = max(there, default=0) + 1
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a whole number >= 1. Received: version={version!r}")
    target = parent / str(version)
    if target.exists():
        raise FileExistsError(f"{str(target)!r} is there already: give another version, or none for the next one")

    model = fold(model) if folded else model
    archive = keras.export.ExportArchive()
    archive.track(model)
    image = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")
    archive.add_endpoint("serving_default", lambda image: {"probabilities": model(image, training=False)}, [image])
    with written_beside(target) as beside:
        archive.write_out(beside, verbose=False)
    return target
