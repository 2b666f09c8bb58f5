"""Training a network on a data set, in a folder that a killed run continues from, on one machine or many."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.training.batch import largest_batch_size
    from keras_densenet.training.evaluation import Evaluation, evaluate, predict
    from keras_densenet.training.folder import load_model, load_record, model_file
    from keras_densenet.training.recipe import RECIPES, Recipe
    from keras_densenet.training.run import Terminated, train
    from keras_densenet.training.strategy import make_strategy, uses_xla
    from keras_densenet.training.transfer import fine_tune, freeze
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = [
    "RECIPES",
    "Evaluation",
    "Recipe",
    "Terminated",
    "evaluate",
    "fine_tune",
    "freeze",
    "largest_batch_size",
    "load_model",
    "load_record",
    "make_strategy",
    "model_file",
    "predict",
    "train",
    "uses_xla",
]
