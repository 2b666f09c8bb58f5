"""DenseNet for Keras 3 on TensorFlow: the whole family, exact to the paper."""

# ruff: noqa: E402, TensorFlow reads these settings when it first allocates
from keras_densenet.backend import check_backend
from keras_densenet.memory import keep_memory

keep_memory()
check_backend()

from keras_densenet import explain, layers
from keras_densenet.architecture import Architecture
from keras_densenet.cost import Cost, cost
from keras_densenet.data import decode_predictions, preprocess_input
from keras_densenet.explain import feature_reuse, grad_cam
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
from keras_densenet.serving import export_saved_model
from keras_densenet.training import fine_tune, freeze
from keras_densenet.weights import list_weights, load_weights, save_weights, weights_info

__version__ = "0.1.0"


def __getattr__(name):
    if name == "DenseNetHyperModel":  # needs KerasTuner, which nothing else does
        from keras_densenet.search import DenseNetHyperModel

        return DenseNetHyperModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    "decode_predictions",
    "explain",
    "export_saved_model",
    "feature_pyramid",
    "feature_reuse",
    "fine_tune",
    "fold",
    "freeze",
    "grad_cam",
    "layers",
    "list_models",
    "list_weights",
    "load_weights",
    "preprocess_input",
    "save_weights",
    "weights_info",
]
