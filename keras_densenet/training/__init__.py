"""Training a network on a data set, in a folder that a killed run continues from, on one machine or many."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.training import metrics as metrics
    from keras_densenet.training.batch import largest_batch_size
    from keras_densenet.training.calibration import Calibration, calibrate
    from keras_densenet.training.evaluation import Evaluation, evaluate
    from keras_densenet.training.losses import BinaryCrossentropy, CategoricalCrossentropy, KnownAccuracy
    from keras_densenet.training.prediction import predict
    from keras_densenet.training.recipe import RECIPES, Recipe
    from keras_densenet.training.run import Diverged, Terminated, train
    from keras_densenet.training.saved import keep_decisions, load_model, load_record, model_file
    from keras_densenet.training.strategy import make_strategy, uses_xla
    from keras_densenet.training.task import Task
    from keras_densenet.training.transfer import fine_tune, freeze
    from keras_densenet.training.uncertainty import Uncertainty, predict_with_uncertainty
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = [
    "RECIPES",
    "BinaryCrossentropy",
    "Calibration",
    "CategoricalCrossentropy",
    "Diverged",
    "Evaluation",
    "KnownAccuracy",
    "Recipe",
    "Task",
    "Terminated",
    "Uncertainty",
    "calibrate",
    "evaluate",
    "fine_tune",
    "freeze",
    "keep_decisions",
    "largest_batch_size",
    "load_model",
    "load_record",
    "make_strategy",
    "model_file",
    "predict",
    "predict_with_uncertainty",
    "train",
    "uses_xla",
]
