"""Searching for the best DenseNet within a budget, with KerasTuner."""

try:
    import keras_tuner  # noqa: F401
except ImportError:
    raise ImportError("A search needs KerasTuner: pip install 'keras-densenet[search]'") from None

from keras_densenet.budget import Budget
from keras_densenet.search.algorithms import ALGORITHMS
from keras_densenet.search.front import ParetoOptimization
from keras_densenet.search.halving import ASHA
from keras_densenet.search.hypermodel import DenseNetHyperModel, constructor_call, scaled
from keras_densenet.search.oracles import BayesianOptimization, GridSearch, Hyperband, RandomSearch
from keras_densenet.search.published import published
from keras_densenet.search.results import Results
from keras_densenet.search.run import search
from keras_densenet.search.studies import suggest
from keras_densenet.search.tuner import Tuner, measure

__all__ = [
    "ALGORITHMS",
    "ASHA",
    "BayesianOptimization",
    "Budget",
    "DenseNetHyperModel",
    "GridSearch",
    "Hyperband",
    "ParetoOptimization",
    "RandomSearch",
    "Results",
    "Tuner",
    "constructor_call",
    "measure",
    "published",
    "scaled",
    "search",
    "suggest",
]
