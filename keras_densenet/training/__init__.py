"""Training a network on a data set, in a folder that a killed run continues from."""

from keras_densenet.training.recipe import Recipe
from keras_densenet.training.run import evaluate, load_model, train
from keras_densenet.training.transfer import fine_tune, freeze

__all__ = ["Recipe", "evaluate", "fine_tune", "freeze", "load_model", "train"]
