import types

import keras
import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet.serving import NativeModel
from tests import tiny

LABELS = ["ant", "bee", "cow", "dog", "eel"]


@pytest.fixture(scope="package")
def exported(tmp_path_factory):
    """A tiny network behind `Rescaling`, exported as version 1, through the C loader, and what Keras answers."""
    base = tmp_path_factory.mktemp("served")
    keras.utils.set_random_seed(0)
    model = tiny.network(stem="imagenet")
    folder = kd.export_saved_model(
        *(model, base, "net"),
        labels=LABELS,
        preprocessing=keras.layers.Rescaling(1 / 255),
        top_k=3,
        levels=["P1", "P3"],
    )
    pixels = np.random.default_rng(1).integers(0, 256, (4, 19, 16, 3)).astype("uint8")
    probabilities = model.predict_on_batch(pixels / np.float32(255))
    native = NativeModel(folder)
    yield types.SimpleNamespace(
        model=model, base=base, folder=folder, native=native, pixels=pixels, probabilities=probabilities
    )
    native.close()
