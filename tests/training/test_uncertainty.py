import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from keras_densenet.models import Decisions
from keras_densenet.training import uncertainty
from tests.oracle import images_like, randomise
from tests.tiny import network

IMAGES = images_like((5, 9, 8, 3), "float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return randomise(network(dropout_rate=0.3))


def entropy(probabilities):
    return -(probabilities * np.log(probabilities)).sum(-1)


def test_samples_are_those_of_a_frozen_network_that_drops(model, monkeypatch):
    def dropout(x, rate, seed, **options):
        kept = np.random.default_rng(x.shape[1:].as_list()).random(x.shape[1:]) >= rate
        return x * tf.cast(kept / (1 - rate), x.dtype)

    monkeypatch.setattr(tf.nn.experimental, "stateless_dropout", dropout)
    other = randomise(network(dropout_rate=0.3))
    other.set_weights(model.get_weights())
    expected = kd.freeze(other)(IMAGES, training=True).numpy()
    found = kd.predict_with_uncertainty(other, IMAGES, samples=3)
    np.testing.assert_allclose(found.mean, expected, atol=1e-6)
    np.testing.assert_allclose(found.spread, 0, atol=1e-6)
    np.testing.assert_allclose(found.mutual_information, 0, atol=1e-6)
    assert np.abs(expected - other(IMAGES)).max() > 1e-3


def test_mean_spread_and_mutual_information_are_those_of_the_samples(model, monkeypatch):
    seen = []
    monkeypatch.setattr(uncertainty, "_uncertainty", lambda *found: seen.append(found) or original(*found))
    original = _original
    found = kd.predict_with_uncertainty(model, IMAGES, samples=30, seed=1)
    ((samples, _),) = seen
    assert samples.shape == (30, 5, 5)
    np.testing.assert_allclose(found.mean, samples.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.spread, samples.std(0), atol=1e-6)
    information = entropy(samples.mean(0)) - entropy(samples).mean(0)
    np.testing.assert_allclose(found.mutual_information, information, atol=1e-5)
    assert (found.mutual_information > 0).all()
    np.testing.assert_allclose(found.mean, model(IMAGES), atol=0.2)


_original = uncertainty._uncertainty


def test_the_model_is_left_as_it_was_the_seed_decides_and_nothing_is_traced_again(model):
    state = [variable.numpy().copy() for variable in model.variables]
    trainable = len(model.trainable_variables)
    one, again = (kd.predict_with_uncertainty(model, IMAGES, samples=4, seed=2) for _ in range(2))
    other = kd.predict_with_uncertainty(model, IMAGES, samples=4, seed=3, batch_size=2)
    np.testing.assert_array_equal(one.mean, again.mean)
    assert np.abs(one.mean - other.mean).max() > 1e-4
    assert uncertainty._samplers[model][0].experimental_get_tracing_count() == 1
    assert len(model.trainable_variables) == trainable
    for before, variable in zip(state, model.variables, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())


@pytest.mark.slow
def test_weights_and_temperature_of_the_moment_count(model):
    other = kd.explain.flat(model)
    before = kd.predict_with_uncertainty(other, IMAGES, samples=4)
    other.decisions = Decisions(temperature=1e6)
    np.testing.assert_allclose(kd.predict_with_uncertainty(other, IMAGES, samples=4).mean, 0.2, atol=1e-4)
    other.decisions = None
    kernel, bias = other.stages["classifier"].get_weights()
    other.stages["classifier"].set_weights([-kernel, -bias])
    after = kd.predict_with_uncertainty(other, IMAGES, samples=4)
    other.stages["classifier"].set_weights([kernel, bias])
    assert np.abs(after.mean - before.mean).max() > 1e-3


def test_only_dropout_trains_whatever_stands_around_it():
    image = keras.Input((9, 8, 3))
    features = network(include_top=False, pooling="avg")(keras.layers.RandomFlip(seed=0)(image))
    features = keras.layers.BatchNormalization()(features)
    model = keras.Model(image, keras.layers.Dense(3, "sigmoid")(keras.layers.Dropout(0.5, seed=0)(features)))
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    found = kd.predict_with_uncertainty(model, IMAGES, samples=8)
    for before, variable in zip(statistics, model.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, variable.numpy())
    assert found.spread.max() > 0.01
    p, means = found.mean.astype("float64"), found.mutual_information
    assert (means <= entropy(np.stack([p, 1 - p], -1)).sum(-1) + 1e-6).all()  # of many labels: their sum
    whole = keras.Model(image, model.layers[-2].output)
    flipped = whole(IMAGES, training=True)
    assert tf.reduce_any(flipped != whole(IMAGES, training=False))  # they would vary in training


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (network, r"The model needs dropout, as DenseNet\(\.\.\., dropout_rate=0\.2\) has.* Received: 'densenet'"),
        (lambda: kd.fold(network(dropout_rate=0.1)), "The model needs dropout"),
        (lambda: network(dropout_rate=0.1, classifier_activation=None), "must end in softmax or sigmoid"),
    ],
)
def test_a_network_that_cannot_be_asked_is_told(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        kd.predict_with_uncertainty(make(), IMAGES)
    with pytest.raises(ValueError, match=r"samples must be at least 2. Received: samples=1"):
        kd.predict_with_uncertainty(make(), IMAGES, samples=1)
