"""Training as users do it: fit with XLA, loops of their own, mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.oracle import assert_close, images_like, matching, plain_model, randomise
from tests.tiny import network

IMAGES = images_like((8, 9, 8, 3), "float32")
LABELS = np.arange(8) % 5


def small(**options):
    return network(blocks=(1, 1), **options)


def compiled(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True), loss, **options)
    return model


@pytest.mark.slow
def test_fit_under_xla_lowers_the_loss_and_moves_all_weights_and_statistics():
    model = compiled(small(dropout_rate=0.05), jit_compile=True)
    before = [variable.numpy() for variable in model.weights]
    history = model.fit(IMAGES, LABELS, batch_size=8, epochs=12, verbose=0).history["loss"]
    assert model.jit_compile is True
    assert np.isfinite(history).all()
    assert history[-1] < 0.8 * history[0]
    still = [v.path for v, value in zip(model.weights, before, strict=True) if np.array_equal(v, value)]
    assert still == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_step_in_mixed_precision_under_xla_has_a_finite_loss_and_float32_statistics(policy):
    keras.config.set_dtype_policy(policy)
    model = compiled(small(), jit_compile=True)
    assert np.isfinite(model.fit(IMAGES, LABELS, batch_size=8, epochs=2, verbose=0).history["loss"]).all()
    assert model.jit_compile is True
    assert all(variable.dtype == "float32" and np.isfinite(variable).all() for variable in model.weights)


@pytest.mark.slow
def test_last_smaller_batch_and_unknown_batch_size_train():
    model = compiled(small())
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(5)
    assert np.isfinite(model.fit(data, shuffle=False, verbose=0).history["loss"]).all()
    assert model.predict(IMAGES, batch_size=3, verbose=0).shape == (8, 5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_gradients_accumulated_in_a_compiled_loop_of_ones_own_equal_the_plain_compositions():
    model = randomise(small())
    plain = plain_model(model)
    halves = np.split(IMAGES.astype("float64"), 2)

    def accumulated(each):
        @tf.function
        def gradients(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(each(images, training=True)[:, 0])
            return tape.gradient(loss, [variable.value for variable in each.trainable_variables])

        return {
            id(variable): sum(parts)
            for variable, *parts in zip(each.trainable_variables, *map(gradients, halves), strict=True)
        }

    ours, theirs = accumulated(model), accumulated(plain)
    for variable, other in matching(model, plain):
        if variable.trainable:
            assert_close(ours[id(variable)], theirs[id(other)], 1e-9, variable.path)


def test_saliency_is_the_gradient_with_respect_to_the_image_in_inference():
    model = network(classifier_activation=None)
    image = tf.constant(IMAGES[:1])
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = model(image)[0, 3]
    saliency = tape.gradient(score, image).numpy()
    other = plain_model(model)
    with tf.GradientTape() as tape:
        tape.watch(image)
        score = other(image)[0, 3]
    np.testing.assert_allclose(saliency, tape.gradient(score, image), rtol=1e-3, atol=1e-4 * abs(saliency).max())


def test_persistent_tape_gives_the_same_gradient_twice():
    model, image = small(), tf.constant(IMAGES)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(image)
        outputs = model(image, training=True)
        first, both = tf.reduce_sum(outputs[:, 0]), tf.reduce_sum(outputs[:, :2])
    a, b = tape.gradient(first, image), tape.gradient(both, image)
    np.testing.assert_array_equal(a, tape.gradient(first, image))
    assert not np.allclose(a, b)


def test_frozen_backbone_only_trains_the_classifier():
    model = small()
    for layer in model.layers[:-1]:
        layer.trainable = False
    compiled(model)
    before = [variable.numpy() for variable in model.weights]
    model.fit(IMAGES, LABELS, verbose=0)
    moved = [v.path for v, value in zip(model.weights, before, strict=True) if not np.array_equal(v, value)]
    assert moved == ["classifier/kernel", "classifier/bias"]


def test_all_of_a_frozen_model_stays_still():
    model = small()
    model.trainable = False
    before = [variable.numpy() for variable in model.weights]
    model(IMAGES, training=True)
    assert model.trainable_variables == []
    assert all(np.array_equal(v, value) for v, value in zip(model.weights, before, strict=True))


@pytest.mark.slow
def test_same_seed_trains_the_same_network():
    losses = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        losses.append(compiled(small(dropout_rate=0.2)).fit(IMAGES, LABELS, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
