"""Where weights come from, and how they go to and from other frameworks."""

from keras_densenet.weights.catalogue import list_weights, weights_info
from keras_densenet.weights.files import load_weights, save_weights

__all__ = ["list_weights", "load_weights", "save_weights", "weights_info"]
