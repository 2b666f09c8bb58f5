"""The losses against plain computations in float64, as functions and as Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_densenet as kd
from keras_densenet.training import BinaryCrossentropy, CategoricalCrossentropy, KnownAccuracy


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def _plain_binary(labels, logits, weights, gamma, smoothing):
    """One known label after the other, as in the docstring."""
    found, every = [], np.broadcast_to(weights, labels.shape).ravel()
    for label, logit, weight in zip(labels.ravel(), logits.ravel(), every, strict=True):
        if label >= 0:
            p, y = _sigmoid(logit), label * (1 - smoothing) + smoothing / 2
            loss = -y * np.log(p) - (1 - y) * np.log(1 - p)
            found.append(loss * (weight * (1 - p) ** gamma if label else p**gamma))
    return np.mean(found) if found else 0.0


def _gradient(function, x, size=1e-5):
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += size
        below[index] -= size
        found[index] = (function(above) - function(below)) / (2 * size)
    return found


def _ours(loss, labels, logits, activation):
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(tf.constant(labels), variable if loss.from_logits else activation(variable))
    return value.numpy(), tape.gradient(value, variable).numpy()


numbers = st.floats(-4, 4)


@settings(deadline=None, max_examples=25)
@given(
    labels=st.lists(st.lists(st.sampled_from([-1, 0, 1]), min_size=3, max_size=3), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    gamma=st.sampled_from([0.0, 1.0, 2.0]),
    smoothing=st.sampled_from([0.0, 0.1]),
    weights=st.sampled_from([None, [1.0, 7.0, 0.5]]),
    from_logits=st.booleans(),
)
def test_loss_and_gradient_with_unknown_labels_equal_a_plain_computation(
    labels, seed, gamma, smoothing, weights, from_logits
):
    labels = np.array(labels, "int8")
    logits = np.random.default_rng(seed).normal(size=labels.shape)
    loss = BinaryCrossentropy(weights, gamma, smoothing, from_logits, dtype="float64")
    value, gradient = _ours(loss, labels, logits, tf.sigmoid)

    def plain(logits):
        return _plain_binary(labels, logits, weights or 1.0, gamma, smoothing)

    np.testing.assert_allclose(value, plain(logits), rtol=1e-9)
    np.testing.assert_allclose(gradient, _gradient(plain, logits), rtol=1e-5, atol=1e-8)
    assert (gradient[labels < 0] == 0).all()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 99), gamma=st.sampled_from([0.0, 2.0]), from_logits=st.booleans(), mixed=st.booleans())
def test_one_class_an_image_equals_a_plain_computation(seed, gamma, from_logits, mixed):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(5, 3)), random.integers(0, 3, 5)
    shares, weights = random.dirichlet([1, 1, 1], 5) if mixed else np.eye(3)[labels], np.array([1.0, 4.0, 0.5])
    loss = CategoricalCrossentropy(weights, gamma, 0.1, from_logits, dtype="float64")
    value, gradient = _ours(loss, shares if mixed else labels, logits, tf.nn.softmax)

    def plain(logits):
        p = _softmax(logits)
        losses = -((shares * 0.9 + 0.1 / 3) * np.log(p)).sum(-1)
        return np.mean(losses * (1 - (shares * p).sum(-1)) ** gamma * (shares * weights).sum(-1))

    np.testing.assert_allclose(value, plain(logits), rtol=1e-9)
    np.testing.assert_allclose(gradient, _gradient(plain, logits), rtol=1e-5, atol=1e-8)


def test_probabilities_that_are_all_but_certain_and_wrong_still_have_a_gradient():
    """Of a classifier's last layer Keras knows the logits."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, "sigmoid", kernel_initializer="ones")])
    for labels, gamma in (([[0, 1]], 0.0), ([[0, 1]], 2.0)):
        with tf.GradientTape() as tape:
            value = BinaryCrossentropy(gamma=gamma)(tf.constant(labels), model(tf.constant([[40.0]])))
        gradient = tape.gradient(value, model.trainable_variables)[1].numpy()
        np.testing.assert_allclose(gradient, [0.5, 0], atol=1e-6)
        np.testing.assert_allclose(value, 20, rtol=1e-5)


@pytest.mark.slow
def test_keras_compiles_fits_saves_and_loads_them(tmp_path):
    labels = np.array([[1, 0, -1], [0, -1, 1], [1, 1, 0], [-1, -1, -1]], "int8")
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype("float32")
    layers = [keras.layers.Flatten(), keras.layers.Dense(3, "sigmoid")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    model.compile("sgd", BinaryCrossentropy([1, 2, 3], gamma=2), metrics=[KnownAccuracy()], jit_compile=True)
    model.fit(images, labels, epochs=1, verbose=0)
    model.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    assert again.loss.get_config() == model.loss.get_config()
    figures = again.evaluate(images, labels, verbose=0, return_dict=True)
    found = model.predict(images, verbose=0)
    assert figures["accuracy"] == pytest.approx(((found > 0.5) == (labels > 0))[labels >= 0].mean())
    weights = np.array([1, 2, 3])
    expected = np.where(labels, weights * (1 - found) ** 2 * -np.log(found), found**2 * -np.log(1 - found))
    assert figures["loss"] == pytest.approx(expected[labels >= 0].mean(), rel=1e-4)
    with pytest.raises(ValueError, match=r"weights must be 3, one a label\. Received: 2 weights"):
        BinaryCrossentropy([1, 2])(labels, found)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"^gamma must not be negative\. Received: gamma=-1$"):
        kd.training.BinaryCrossentropy(gamma=-1)
    with pytest.raises(ValueError, match=r"^label_smoothing must be in \[0, 1\)\. Received: label_smoothing=1$"):
        kd.training.CategoricalCrossentropy(label_smoothing=1)
