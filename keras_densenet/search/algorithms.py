"""The algorithms of a search by their names."""

from keras_densenet.search.halving import ASHA
from keras_densenet.search.oracles import BayesianOptimization, GridSearch, Hyperband, RandomSearch

ALGORITHMS = {
    "random": RandomSearch,
    "bayesian": BayesianOptimization,
    "hyperband": Hyperband,
    "asha": ASHA,
    "grid": GridSearch,
}
