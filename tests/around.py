"""Models with a DenseNet in them, as people build them: functions by name, each without arguments."""

import keras
import numpy as np

import keras_densenet as kd
from tests.oracle import randomise
from tests.tiny import network

SHAPE = (9, 8, 3)


def _around(build, shape=SHAPE, dtype="float32"):
    def model():
        image = keras.Input(shape, name="photo", dtype=dtype)
        return keras.Model(image, build(image), name="around")

    return model


def _backbone(**options):
    return randomise(network(include_top=False, pooling="avg", **options))


def _nested(image, **options):
    return keras.layers.Dense(5, "softmax")(_backbone(**options)(image))


def _nested_twice(image):
    inner = keras.Input(SHAPE)
    once = keras.Model(inner, keras.layers.Dropout(0.5, name="pool")(_backbone()(inner)))
    return keras.layers.Dense(5, "softmax", name="classifier")(once(image))


def _normalised(image):
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (8, *SHAPE)))
    return _nested(layer(image))


def _inside(image):
    features = _backbone()(image)
    return keras.layers.Dense(5, "softmax")(keras.ops.concatenate([features, 2 * features], -1))


def _logits():
    return randomise(network(classifier_activation=None))


def _built():
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), randomise(network())])
    model.build((None, *SHAPE))
    return model


def _grey_and_resized():
    image = keras.Input((None, None, 1))
    x = keras.layers.Resizing(9, 8)(keras.ops.repeat(image, 3, -1))
    return randomise(network(input_tensor=x, input_shape=None))


AROUND = {
    "preprocess_input": _around(lambda image: _nested(kd.preprocess_input(image))),
    "tensor operations in front": _around(lambda image: _nested(image / 255.0 - 0.5)),
    "bytes": _around(lambda image: _nested(keras.ops.cast(image, "float32") / 255), dtype="uint8"),
    "tensor operations inside": _around(_inside),
    "tensor operations behind": _around(lambda image: keras.ops.softmax(_logits()(image))),
    "Sequential": lambda: keras.Sequential([keras.Input(SHAPE), randomise(network())]),
    "Sequential that was built": _built,
    "5 channels": lambda: randomise(network(input_shape=(9, 8, 5))),
    "nested": _around(_nested),
    "nested twice": _around(_nested_twice),
    "Softmax": _around(lambda image: keras.layers.Softmax()(_logits()(image))),
    "Activation": _around(lambda image: keras.layers.Activation("sigmoid")(_logits()(image))),
    "Normalization": _around(_normalised),
    "RandomFlip and Resizing": _around(
        lambda image: _nested(keras.layers.Resizing(9, 8)(keras.layers.RandomFlip()(image))), (12, 11, 3)
    ),
    "grey, of any size": _grey_and_resized,
    "folded": lambda: kd.fold(randomise(network())),
}


def pixels_for(model, count=3):
    """Images in 0..255 for a model; 12x11 for one of any size."""
    height, width, channels = model.input_shape[1:]
    return np.random.default_rng(1).integers(0, 256, (count, height or 12, width or 11, channels)).astype("float32")
