"""Dropout in dense block and transition: where it stands, how much it drops, and that its gradient is right."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet.layers import DenseBlock, Transition
from tests import oracle

LAYERS = {
    "bottleneck": lambda **options: DenseBlock(2, 2, name="block1", **options),
    "plain": lambda **options: DenseBlock(2, 2, bottleneck=False, name="block1", **options),
    "transition": lambda **options: Transition(0.7, name="transition1", **options),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def chain(layer, shape=(5, 4, 6)):
    return oracle.randomise(keras.Sequential([keras.Input(shape), layer]))


@every_layer
@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.usefixtures("float64", "fixed_dropout")
def test_equals_the_plain_composition_with_dropout_after_every_convolution(make, training):
    oracle.assert_equal_step(chain(make(dropout_rate=0.3)), oracle.images_like((3, 5, 4, 6)), training)


@every_layer
@pytest.mark.usefixtures("float64", "fixed_dropout")
def test_frozen_layer_still_drops_as_in_keras(make):
    model = chain(make(dropout_rate=0.3))
    model.layers[0].trainable = False
    oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 6)), training=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "jit_compile"),
    [*((make, False) for make in LAYERS.values()), (LAYERS["bottleneck"], True)],
    ids=[*LAYERS, "bottleneck-xla"],
)
@pytest.mark.usefixtures("float64")
def test_gradient_is_that_of_the_masks_that_were_drawn(make, jit_compile):
    """Central differences along a random direction of all weights and the image, with the same masks every time."""
    model = chain(make(dropout_rate=0.3, seed=11))
    rng = np.random.default_rng(5)
    images = oracle.images_like((3, 5, 4, 6))
    for variable in model.trainable_variables:  # no ReLU may stand at zero, where it has no derivative
        variable.assign(np.where(variable == 0, 0.1, variable))
    start = [images, *(v.numpy() for v in model.trainable_variables)]
    directions = [rng.normal(size=value.shape) for value in start]
    states = {v.path: v.numpy() for v in model.layers[0].non_trainable_variables}
    run = oracle.stepper(model, jit_compile=jit_compile)
    output, of_images, of_weights = run(images)
    gradients = [of_images, *(of_weights[id(v)] for v in model.trainable_variables)]

    def output_at(distance):
        values = [value + distance * direction for value, direction in zip(start, directions, strict=True)]
        for variable, value in zip(model.trainable_variables, values[1:], strict=True):
            variable.assign(value)
        for variable in model.layers[0].non_trainable_variables:  # the seed's, too: the same masks
            variable.assign(states[variable.path])
        return run(values[0])[0]

    assert np.abs(run(images)[0] - output).max() > 0.1  # of other masks
    oracle.assert_close(output, output_at(0), 1e-9, "output")
    slope = (output_at(1e-7) - output_at(-1e-7)) / 2e-7
    upstream = np.random.default_rng(1).normal(size=slope.shape)
    predicted = sum(np.sum(gradient * direction) for gradient, direction in zip(gradients, directions, strict=True))
    assert np.sum(slope * upstream) == pytest.approx(predicted, rel=1e-5)


def test_dropped_share_is_the_rate_and_the_rest_is_scaled_up():
    block = DenseBlock(1, 8, bottleneck=False, dropout_rate=0.2)
    images = oracle.images_like((8, 16, 16, 3), "float32")
    dropped = block(images, training=True)[..., 3:].numpy()
    same = DenseBlock(1, 8, bottleneck=False)
    same.build(images.shape)
    same.set_weights(block.get_weights())
    whole = same(images, training=True)[..., 3:].numpy()
    assert np.mean(dropped == 0) == pytest.approx(0.2, abs=0.02)
    np.testing.assert_allclose(dropped[dropped != 0], whole[dropped != 0] / 0.8, rtol=1e-4, atol=1e-6)


@every_layer
def test_same_seed_draws_the_same_masks_another_seed_and_another_call_do_not(make):
    images = oracle.images_like((2, 5, 4, 6), "float32")

    def first_calls(seed):
        layer = make(dropout_rate=0.5, seed=seed)
        layer.build(images.shape)
        for variable in layer.trainable_variables:  # the same for every seed
            variable.assign(np.ones(variable.shape))
        return [layer(images, training=True).numpy() for _ in range(2)]

    (one, two), (again, _), (other, _) = first_calls(3), first_calls(3), first_calls(4)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, other)


@every_layer
def test_every_step_of_a_compiled_function_draws_new_masks(make):
    layer, images = make(dropout_rate=0.5), tf.constant(oracle.images_like((2, 5, 4, 6), "float32"))
    layer.build(images.shape)
    run = tf.function(lambda: layer(images, training=True))
    assert not np.array_equal(run(), run())


def test_layers_of_one_block_drop_independently():
    block = DenseBlock(2, 4, bottleneck=False, dropout_rate=0.5)
    dropped = block(oracle.images_like((2, 8, 8, 3), "float32"), training=True)[..., 3:].numpy() == 0
    assert np.mean(dropped[..., :4] == dropped[..., 4:]) < 0.7


@every_layer
def test_nothing_is_dropped_in_inference(make):
    layer, images = make(dropout_rate=0.5), oracle.images_like((2, 5, 4, 6), "float32")
    layer.build(images.shape)
    whole = make()
    whole.build(images.shape)
    whole.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(images), whole(images), rtol=1e-5, atol=1e-5)
