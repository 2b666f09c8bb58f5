"""`model_card.json`: what a served model is, made of what, and the hashes of its files."""

import dataclasses
import hashlib
import json
import pathlib
import platform

import keras
import tensorflow as tf

import keras_densenet
from keras_densenet.cost import cost
from keras_densenet.layers.stems import Stem
from keras_densenet.models import Decisions, DenseNetModel

FILE = "model_card.json"


def write_card(served, folder, name, version, facts, signatures=None):
    """Writes the card of an export, last of its files.

    Args:
        served: a `Served`.
        folder: of the export, which is hashed.
        name, version: of the model.
        facts: a dict of what is known beyond the model, which goes into the card as it is.
        signatures: names of those in it. Default: all.
    """
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "python": platform.python_version()}
    card = {
        "name": name,
        "version": version,
        **_network(served),
        "preprocessing": _preprocessing(served.model),
        "activation": served.activation,
        "precision": served.precision,
        "labels": served.labels,
        "decisions": _decisions(served),
        "file_size": list(served.size),
        "max_pixels": served.max_pixels,
        "signatures": list(signatures or served.signatures),
        **facts,
        "versions": {"keras_densenet": keras_densenet.__version__, **versions},
        "sha256": hashes(folder),
    }
    pathlib.Path(folder, FILE).write_text(json.dumps(card, indent=2) + "\n")


def read_card(folder):
    """The card of an export, a dict; ValueError if it has none."""
    try:
        return json.loads(pathlib.Path(folder, FILE).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{str(folder)!r} is not an export of keras_densenet, its {FILE} is missing: {error}"
        ) from None


def hashes(folder):
    """SHA-256 of every file in a folder but the card, by relative path."""
    files = sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file() and path.name != FILE)
    found = {}
    for path in files:
        with open(path, "rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _network(served):
    if not isinstance(served.model, DenseNetModel):
        return {"parameters": served.model.count_params()}
    architecture = dataclasses.replace(served.model.architecture, classes=len(served.labels))
    *size, channels = architecture.input_shape
    counted = cost(architecture, (*(served.size if None in size else size), channels))
    figures = {"parameters": counted.trainable_parameters, "macs": counted.macs}
    return {"architecture": dataclasses.asdict(architecture), **figures}


def _decisions(served):
    """The temperature and, in the order of the labels, the thresholds that `positive` is told by, and their origin."""
    found = (served.decisions or Decisions())._replace(thresholds=served.thresholds)
    return None if found == Decisions() else found.as_json()


def _preprocessing(model):
    """The layers and tensor operations between the raw pixels and the network."""
    found = []
    for operation in model.operations[1:]:
        if isinstance(operation, Stem):
            break
        config = operation.get_config() if isinstance(operation, keras.Layer) else {}
        found.append({"layer": type(operation).__name__, **config})
    return json.loads(json.dumps(found, default=str))
