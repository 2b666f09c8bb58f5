"""The compiled model that a run begins with."""

import contextlib

import keras
import numpy as np

from keras_densenet.architecture import Architecture
from keras_densenet.data import mean_and_std
from keras_densenet.layers import Preprocess
from keras_densenet.models import DenseNet, DenseNetModel
from keras_densenet.training import transfer
from keras_densenet.weights.catalogue import find


def build(network, splits, recipe, updates, task, weights=None, freeze=None, constructor=DenseNet):
    """Builds the network behind a layer that normalises pixels, and compiles it with the recipe's optimizer.

    Args:
        network: a dict of `DenseNet` arguments without input and classes.
        splits: `Splits`.
        recipe: a `Recipe`.
        updates: of an epoch.
        task: the `Task`.
        weights: whatever `DenseNet` takes; the classifier is then a new one.
        freeze: the last stage to leave untrained.
        constructor: what `network` are arguments of.

    Returns:
        A compiled `DenseNetModel` from pixels in 0..255 to probabilities, its optimizer built.
    """
    keras.utils.set_random_seed(recipe.seed)
    mode = _normalisation(network, splits.train, recipe, weights)
    with dtype_policy(recipe.mixed_precision):
        image = keras.Input(splits.train.images.shape[1:], name="image")
        normalise = Preprocess(mode, dimensions=len(image.shape) - 2, name="preprocess")
        classes, ending = len(splits.labels), {"classifier_activation": task.activation} if task.many else {}
        if weights is None:
            model = constructor(**network, input_tensor=normalise(image), classes=classes, **ending)
        else:
            backbone = constructor(**network, input_tensor=normalise(image), include_top=False, weights=weights)
            model = backbone.reset_classifier(classes, **ending)
        if isinstance(model, DenseNetModel):
            model.labels, model.framing = splits.labels, splits.framing or model.framing
        if freeze is not None:
            transfer.freeze(model, freeze)
        model.compile(recipe.optimizer(updates), task.loss)
        model.optimizer.build(model.trainable_variables)
    return model


def _normalisation(network, split, recipe, weights):
    """The `mode` of `Preprocess`: what published weights need where the recipe has no word for it, or its own."""
    plan = Architecture.plan(**network, include_top=False, input_shape=split.images.shape[1:]) if weights else None
    checkpoint = plan and find(weights, plan)
    if checkpoint and (recipe.normalise == "data" or not isinstance(checkpoint.preprocessing, str)):
        return checkpoint.preprocessing
    if recipe.mode:
        return recipe.mode
    mean, std = mean_and_std(split)
    same = std <= 1e-4 * (1 + np.abs(mean))  # up to rounding: a channel in which there is nothing stays so
    return {"mean": mean, "std": np.where(same, 1, std)}


@contextlib.contextmanager
def dtype_policy(name):
    """Sets Keras' dtype policy for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
