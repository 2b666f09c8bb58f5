"""The compiled model that a run begins with."""

import contextlib

import keras

from keras_densenet.data import mean_and_std
from keras_densenet.models import DenseNet

_PIXELS = {  # mean and standard deviation on 0..255
    "imagenet": ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
    "unit": (0.0, 255.0),
}


def build(network, splits, recipe, updates, weights=None, freeze=None, constructor=DenseNet):
    """Builds the network behind a layer that normalises pixels, and compiles it with the recipe's optimizer.

    Args:
        network: a dict of `DenseNet` arguments without input and classes.
        splits: `Splits`.
        recipe: a `Recipe`.
        updates: of an epoch.
        weights: whatever `DenseNet` takes; the classifier is then a new one.
        freeze: the last stage to leave untrained.
        constructor: what `network` are arguments of.

    Returns:
        A compiled `DenseNetModel` from pixels in 0..255 to probabilities, its optimizer built.
    """
    keras.utils.set_random_seed(recipe.seed)
    mean, std = _PIXELS.get(recipe.normalise) or mean_and_std(splits.train)
    with _dtype_policy(recipe.mixed_precision):
        image = keras.Input(splits.train.images.shape[1:], name="image")
        normalise = keras.layers.Normalization(mean=mean, variance=keras.ops.square(std), name="normalisation")
        classes = len(splits.labels)
        if weights is None:
            model = constructor(**network, input_tensor=normalise(image), classes=classes)
        else:
            backbone = constructor(**network, input_tensor=normalise(image), include_top=False, weights=weights)
            model = backbone.reset_classifier(classes)
        if freeze is not None:
            from keras_densenet.training.transfer import freeze as freeze_until

            freeze_until(model, freeze)
        model.compile(recipe.optimizer(updates), "categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
    return model


@contextlib.contextmanager
def _dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
