"""Networks of other frameworks for the tests of weights, their files, and what our own network beside them is."""

import functools
import importlib.util
import os
import pathlib
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.src.applications.densenet import conv_block, transition_block
from keras.src.legacy.saving import legacy_h5_format

import keras_densenet as kd

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
TORCH = os.environ.get("KERAS_DENSENET_TORCH_PYTHON") or (sys.executable if importlib.util.find_spec("torch") else None)
needs_torch = pytest.mark.skipif(not TORCH, reason="no torch here, and KERAS_DENSENET_TORCH_PYTHON names none")


def skip_without_monai():
    """Skips a test where the Python that has torch has no MONAI; finding that out starts it."""
    script = "import importlib.util, sys; sys.exit(importlib.util.find_spec('monai') is None)"
    if not TORCH or subprocess.run([TORCH, "-c", script], timeout=60).returncode:
        pytest.skip("no torch and MONAI here, and KERAS_DENSENET_TORCH_PYTHON names no Python that has both")


def ours(**others):
    """The network that the fixtures and `applications` and `hub` are, giving logits, for images of any size."""
    tiny = {"blocks": (2, 1), "growth_rate": 4, "stem": "imagenet", "classes": 5, "classifier_activation": None}
    return kd.DenseNet(**{**tiny, "input_shape": (None, None, 3), **others})


def applications(**others):
    """Our network as keras.applications would build it, from its own functions, which know only DenseNet's widths."""
    x = inputs = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(3)(x)
    x = layers.Conv2D(8, 7, 2, use_bias=False, name="conv1_conv")(x)
    x = layers.BatchNormalization(epsilon=1.001e-5, name="conv1_bn")(x)
    x = layers.ZeroPadding2D(1)(layers.ReLU()(x))
    x = layers.MaxPooling2D(3, 2)(x)
    x = conv_block(conv_block(x, 4, "conv2_block1"), 4, "conv2_block2")
    x = conv_block(transition_block(x, 0.5, "pool2"), 4, "conv3_block1")
    x = layers.ReLU()(layers.BatchNormalization(epsilon=1.001e-5, name="bn")(x))
    x = layers.Dense(5, name="predictions")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, x)


def hub():
    """The backbone and the classifier of keras-hub (0.32), with its names and its "same" padding."""

    def norm_relu(x, name):
        return layers.ReLU()(layers.BatchNormalization(epsilon=1.001e-5, name=name)(x))

    def convolve(x, filters, size, name, strides=1):
        return layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=name)(x)

    def dense_layer(x, name):
        y = convolve(norm_relu(x, f"{name}_1_bn"), 16, 1, f"{name}_1_conv")
        return layers.Concatenate()([x, convolve(norm_relu(y, f"{name}_2_bn"), 4, 3, f"{name}_2_conv")])

    inputs = keras.Input((None, None, 3))
    x = norm_relu(convolve(inputs, 8, 7, "conv1_conv", 2), "conv1_bn")
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    x = dense_layer(dense_layer(x, "stack1_block1"), "stack1_block2")
    x = layers.AveragePooling2D(2)(convolve(norm_relu(x, "transition1_bn"), 8, 1, "transition1_conv"))
    x = norm_relu(dense_layer(x, "stack2_block1"), "bn")
    backbone = keras.Model(inputs, x)
    x = layers.Dense(5, name="predictions")(layers.GlobalAveragePooling2D()(backbone(inputs)))
    return backbone, keras.Model(inputs, x)


def save_preset(backbone, classifier, folder):
    """Writes a keras-hub preset: the classifier's file leaves the backbone's layers out."""
    folder.mkdir()
    backbone.save_weights(folder / "model.weights.h5")
    skipped = list(backbone._flatten_layers())
    keras.saving.save_weights(classifier, str(folder / "task.weights.h5"), objects_to_skip=skipped)


def save_legacy(model, path):
    """Writes what `save_weights` of Keras 2 wrote."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


def images(shape=(2, 41, 33, 3)):
    return np.random.default_rng(3).normal(size=shape).astype("float32")


def difference(model, other, x):
    """The largest absolute difference of two models' outputs."""
    return np.abs(np.asarray(model(x)) - np.asarray(other(x))).max()


@functools.cache
def fixture(name):
    """Inputs and outputs of a fixture."""
    with np.load(FIXTURES / f"{name}.npz") as arrays:
        return tuple(arrays.values())


def run_torch(*arguments):
    """Runs `torch_networks.py` where torch is."""
    script = pathlib.Path(__file__).with_name("torch_networks.py")
    subprocess.run([TORCH, script, *map(str, arguments)], check=True, timeout=600, capture_output=True)


def one_sentence(error, path):
    """The message, once it is clear that it is one line and names the file."""
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message
