"""DenseNets as functional Keras models."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.family import list_models
    from keras_densenet.models.decisions import Decisions
    from keras_densenet.models.densenet import DenseNet, feature_pyramid
    from keras_densenet.models.folding import fold
    from keras_densenet.models.model import DenseNetModel
    from keras_densenet.models.stages import framing_of
    from keras_densenet.models.variants import (
        DenseNet121,
        DenseNet161,
        DenseNet169,
        DenseNet201,
        DenseNet264,
        create_model,
    )
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = [
    "Decisions",
    "DenseNet",
    "DenseNet121",
    "DenseNet161",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
    "DenseNetModel",
    "create_model",
    "feature_pyramid",
    "fold",
    "framing_of",
    "list_models",
]
