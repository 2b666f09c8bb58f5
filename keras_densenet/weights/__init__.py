"""Where weights come from, and how they go to and from other frameworks."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.weights.catalogue import list_weights, weights_info
    from keras_densenet.weights.files import load_weights, save_weights
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = ["list_weights", "load_weights", "save_weights", "weights_info"]
