"""DenseNet for Keras 3 on TensorFlow: the whole family, exact to the paper."""

from keras_densenet import layers
from keras_densenet.architecture import Architecture
from keras_densenet.cost import Cost, cost
from keras_densenet.models import (
    DenseNet,
    DenseNet121,
    DenseNet161,
    DenseNet169,
    DenseNet201,
    DenseNet264,
    DenseNetModel,
    create_model,
    feature_pyramid,
    fold,
    list_models,
)
from keras_densenet.weights import list_weights, load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "Cost",
    "DenseNet",
    "DenseNet121",
    "DenseNet161",
    "DenseNet169",
    "DenseNet201",
    "DenseNet264",
    "DenseNetModel",
    "cost",
    "create_model",
    "feature_pyramid",
    "fold",
    "layers",
    "list_models",
    "list_weights",
    "load_weights",
    "save_weights",
]
