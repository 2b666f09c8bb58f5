"""How sure a network is: what it answers when dropout takes other parts of it away each time."""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.compat.keras import freeze_alone, run_graph
from keras_densenet.layers.folded import Folded
from keras_densenet.models.flat import flat, logits_of
from keras_densenet.models.graph import Network
from keras_densenet.types import Array, Tensor

_DROPOUTS = keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.AlphaDropout, keras.layers.GaussianDropout
_samplers: "weakref.WeakKeyDictionary[keras.Model, tuple[Callable[..., Any], bool]]" = weakref.WeakKeyDictionary()


class Uncertainty(NamedTuple):
    """What `predict_with_uncertainty` gives.

    Args:
        mean: float32 `(images, classes)`, probabilities averaged over the samples.
        spread: float32 `(images, classes)`, their standard deviations.
        mutual_information: float32 `(images,)`, in nats: the entropy of the mean less the samples' mean entropy, which
            is how much the answer depends on the parts of the network that are left; of many labels, their sum.

    Examples:
        >>> model = kd.DenseNet(blocks=(1,), growth_rate=4, input_shape=(16, 16, 3), classes=3, dropout_rate=0.2)
        >>> found = kd.predict_with_uncertainty(model, images, samples=5)
        >>> bool((found.mutual_information >= 0).all()), found.spread.shape
        (True, (4, 3))
    """

    mean: Array
    spread: Array
    mutual_information: Array


def predict_with_uncertainty(
    model: keras.Model, images: Tensor, samples: int = 20, *, seed: int = 0, batch_size: int = 64
) -> Uncertainty:
    """Asks a network several times with dropout on, each time with other masks: Monte Carlo dropout.

    Statistics stay the moving ones, layers that vary images do nothing, and the model is left as it was. Probabilities
    are those after the temperature of the model's `decisions`. The same seed gives the same masks.

    Args:
        model: a functional or sequential `keras.Model` with a DenseNet of this package that ends in softmax or sigmoid,
            and has dropout: `DenseNet(..., dropout_rate=0.2)`, or Keras' layers around it.
        images: what the model takes, `(images, height, width, channels)`.
        samples: how often to ask, at least 2.
        seed: of the masks.
        batch_size: images that are computed at once.

    Returns:
        An `Uncertainty`.

    Raises:
        ValueError: for a network without dropout, whose samples would all be equal, or another ending.

    Source: Gal and Ghahramani, Dropout as a Bayesian Approximation, ICML 2016; Houlsby et al., Bayesian Active Learning
        for Classification and Preference Learning, 2011.

    Examples:
        >>> model = kd.DenseNet(blocks=(1,), growth_rate=4, input_shape=(16, 16, 3), classes=3, dropout_rate=0.2)
        >>> mean, spread, information = kd.predict_with_uncertainty(model, images, samples=20)
        >>> mean.shape, information.shape
        ((4, 3), (4,))
    """
    if samples < 2:
        raise ValueError(f"samples must be at least 2. Received: samples={samples}")
    if model not in _samplers:
        _samplers[model] = _sampler(model)
    (sample, many), decisions = _samplers[model], getattr(model, "decisions", None)
    temperature, parts = tf.constant(decisions.temperature if decisions else 1.0, tf.float32), []
    for number, start in enumerate(range(0, len(images), batch_size)):
        batch = tf.cast(images[start : start + batch_size], tf.float32)
        seeds = [[seed & 0x7FFFFFFF, number * samples + index] for index in range(samples)]
        parts.append(_uncertainty(np.stack([sample(batch, temperature, tf.constant(pair)) for pair in seeds]), many))
    return Uncertainty(*(np.concatenate(values).astype("float32") for values in zip(*parts, strict=True)))


def _sampler(model):
    """A function from images, temperature and seed to probabilities, and whether they are of many labels."""
    network = flat(model)
    scores, activation, kind = logits_of(network)
    dropping = [layer for layer in network.layers if _drops(layer)]
    if not dropping:
        raise ValueError(
            "The model needs dropout, as DenseNet(..., dropout_rate=0.2) has until it is folded: without it all "
            f"samples are equal. Received: {model.name!r}"
        )
    seeds = _Seeds()
    for layer in dropping:
        freeze_alone(layer)
        vars(layer)["seed_generator"] = seeds
    graph = Network(network.inputs, scores)

    def called(operation):
        if "training" not in inspect.signature(operation.call).parameters:
            return operation
        return lambda *args, **options: operation(*args, **{**options, "training": operation in dropping})

    def sample(images, temperature, seed):
        seeds.start(seed)
        return activation(tf.cast(run_graph(graph, images, called), tf.float32) / temperature)

    specs = tf.TensorSpec((None, *model.input_shape[1:])), tf.TensorSpec(()), tf.TensorSpec((2,), tf.int32)
    return tf.function(sample, specs, autograph=False), kind == "sigmoid"


class _Seeds(keras.random.SeedGenerator):
    """The seeds of one call, each of which follows from the call's own: nothing that is drawn is remembered."""

    def __init__(self):
        pass  # no state

    def start(self, seed):
        self._seed, self._drawn = seed, 0

    def next(self, ordered=True):
        self._drawn += 1
        return tf.random.experimental.stateless_fold_in(self._seed, self._drawn)


def _drops(layer):
    rate = layer.rate if isinstance(layer, _DROPOUTS) else getattr(layer, "dropout_rate", 0)
    return rate > 0 and not isinstance(layer, Folded)


def _uncertainty(probabilities, many):
    probabilities = probabilities.astype("float64")
    mean = probabilities.mean(0)
    return mean, probabilities.std(0), _entropy(mean, many) - _entropy(probabilities, many).mean(0)


def _entropy(probabilities, many):
    both = np.concatenate([probabilities, 1 - probabilities], -1) if many else probabilities
    return -(both * np.log(np.maximum(both, np.finfo("float64").tiny))).sum(-1)
