"""DenseNet for Keras 3 on TensorFlow: the whole family, exact to the paper."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from keras_densenet.backend import check_backend
from keras_densenet.cost import Cost, cost
from keras_densenet.lazy import exports
from keras_densenet.memory import keep_memory
from keras_densenet.programs import keep_programs

if TYPE_CHECKING:
    from keras_densenet import data as data
    from keras_densenet import explain, layers
    from keras_densenet import models as models
    from keras_densenet import ops as ops
    from keras_densenet import search as search
    from keras_densenet import serving as serving
    from keras_densenet import training as training
    from keras_densenet import weights as weights
    from keras_densenet.architecture import Architecture
    from keras_densenet.data import decode_predictions, preprocess_input
    from keras_densenet.explain import feature_reuse, grad_cam
    from keras_densenet.family import list_models
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
    )
    from keras_densenet.search import DenseNetHyperModel as DenseNetHyperModel  # not in __all__: it needs KerasTuner
    from keras_densenet.serving import export_saved_model
    from keras_densenet.training import fine_tune, freeze, predict_with_uncertainty
    from keras_densenet.weights import list_weights, load_weights, save_weights, weights_info
else:
    __getattr__, __dir__ = exports(__name__)

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
    "predict_with_uncertainty",
    "preprocess_input",
    "save_weights",
    "weights_info",
]

keep_memory()
keep_programs()
if "keras_densenet_launch" not in sys.modules and sys.argv[:1] != ["-m"]:  # a command needs little of what follows
    check_backend()
    for _name in __all__:
        getattr(sys.modules[__name__], _name)
    for _name in ("optimizer", "losses"):  # with them, all classes that Keras looks up in a file are known
        import_module(f"keras_densenet.training.{_name}")
