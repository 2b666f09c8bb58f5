"""Layers in 16 bit: float32 statistics and scales, features in 16 bit, no more error than plain layers make."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet.layers import CifarStem, DeepStem, DenseBlock, Head, ImageNetStem, Transition
from tests import oracle

LAYERS = {
    "bottleneck": lambda: DenseBlock(2, 4, name="layer"),
    "plain": lambda: DenseBlock(2, 4, bottleneck=False, name="layer"),
    "transition": lambda: Transition(name="layer"),
    "head": lambda: Head(name="layer"),
    "imagenet-stem": lambda: ImageNetStem(8, name="layer"),
    "deep-stem": lambda: DeepStem(8, name="layer"),
    "cifar-stem": lambda: CifarStem(8, name="layer"),
}
SHAPE = (4, 8, 8, 4)
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
both_policies = pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])


def pair(make, policy):
    """The same layer, as a model, in float32 and under `policy`."""
    exact = keras.Sequential([keras.Input(SHAPE[1:]), make()])
    keras.config.set_dtype_policy(policy)
    rough = keras.Sequential([keras.Input(SHAPE[1:]), make()])
    rough.set_weights(exact.get_weights())
    return exact, rough


def error(actual, expected):
    """Root mean square of the difference, in units of the expected values'."""
    actual, expected = (np.asarray(values, "float64") for values in (actual, expected))
    return np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2))


@every_layer
@both_policies
def test_variables_are_float32_and_features_16_bit(make, policy):
    _, rough = pair(make, policy)
    assert {variable.dtype for variable in rough.weights} == {"float32"}
    output = rough(oracle.images_like(SHAPE, "float32"), training=True)
    assert keras.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")


@pytest.mark.slow
@every_layer
@both_policies
def test_training_is_as_close_to_float32_as_the_plain_composition_in_16_bit(make, policy):
    images = oracle.images_like(SHAPE, "float32")
    exact, rough = pair(make, policy)
    plain = oracle.plain_model(rough)
    expected, ours, theirs = (oracle.step(model, images) for model in (exact, rough, plain))
    pairs = [(ours[0], theirs[0], expected[0]), (ours[1], theirs[1], expected[1])]
    counterparts = dict(zip(map(id, rough.weights), exact.weights, strict=True))
    for variable, other in oracle.matching(rough, plain):
        if variable.trainable:
            assert ours[2][id(variable)].dtype == "float32"
            gradients = ours[2][id(variable)], theirs[2][id(other)], expected[2][id(counterparts[id(variable)])]
            pairs.append(gradients)
        else:
            value = variable.numpy()[: len(other.numpy())]
            oracle.assert_close(value, other, 0.01, variable.path)
    total, total_of_plain = (
        np.sqrt(np.mean([error(triple[which], triple[2]) ** 2 for triple in pairs])) for which in (0, 1)
    )
    assert total < 3 * total_of_plain + 1e-3  # a single ReLU that rounds the other way doubles some of these errors


def _step(model):
    """A compiled forward and backward pass, without XLA: a function from images to a list of arrays in float64."""

    @tf.function
    def run(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = model(images, training=True)
            loss = tf.reduce_sum(output * np.random.default_rng(1).normal(size=output.shape).astype(output.dtype.name))
        return output, *tape.gradient(loss, [images, *(v.value for v in model.trainable_variables)])

    return lambda images: [np.asarray(values, "float64") for values in run(tf.constant(images, model.inputs[0].dtype))]


@pytest.mark.slow
@both_policies
def test_no_gradient_is_noisier_than_the_plain_compositions_by_a_third(policy):
    """The distance from float64, tensor by tensor, where no ReLU stands so near to zero that rounding can turn it."""
    layers = [DenseBlock(2, 4), Transition(), DenseBlock(1, 4, bottleneck=False), Head()]
    exact = keras.Sequential([keras.Input((8, 8, 6), dtype="float64"), *layers], name="exact")
    rough = keras.models.clone_model(exact, clone_function=lambda layer: _in(layer, policy))
    exact = keras.models.clone_model(exact, clone_function=lambda layer: _in(layer, "float64"))
    plain = oracle.plain_model(rough)
    steps = [_step(model) for model in (exact, rough, plain)]
    counterpart = {id(ours): theirs for ours, theirs in oracle.matching(rough, plain)}
    places = [
        [id(v) for v in plain.trainable_variables].index(id(counterpart[id(v)])) for v in rough.trainable_variables
    ]
    ratios = []
    for seed in range(25):
        random = np.random.default_rng(seed)
        for variable in rough.trainable_variables:
            if variable.name.endswith("kernel"):
                variable.assign(random.normal(0, (2 / np.prod(variable.shape[:3])) ** 0.5, variable.shape))
            else:
                size = random.uniform(0.3, 0.8, variable.shape) if variable.name.endswith("gamma") else 4
                variable.assign(random.choice([-1, 1, 1, 1], variable.shape) * size)
        exact.set_weights(rough.get_weights())
        oracle.copy_weights(rough, plain)
        images = oracle.images_like((4, 8, 8, 6), "float16", seed).astype("float64")
        expected, ours, (output, of_images, *of_weights) = (step(images) for step in steps)
        theirs = [output, of_images, *(of_weights[place] for place in places)]
        distances = [[np.linalg.norm(a - b) for a, b in zip(found, expected, strict=True)] for found in (ours, theirs)]
        ratios.append(np.divide(*distances))
    names = ["output", "images", *(variable.path for variable in rough.trainable_variables)]
    median = dict(zip(names, np.median(ratios, 0), strict=True))
    assert {name: ratio for name, ratio in median.items() if ratio > 1.3} == {}


def _in(layer, policy):
    return type(layer).from_config({**layer.get_config(), "dtype": policy})


@both_policies
def test_statistics_do_not_overflow_where_squares_leave_the_range_of_16_bit(policy):
    images = oracle.images_like(SHAPE, "float32") * 300
    exact, rough = pair(LAYERS["bottleneck"], policy)
    oracle.assert_close(rough(images, training=True), exact(images, training=True), 0.05, "output")
    for variable, reference in zip(rough.non_trainable_variables, exact.non_trainable_variables, strict=True):
        oracle.assert_close(variable, reference, 0.02, variable.path)


@every_layer
def test_float64_policy_computes_and_stores_float64(make):
    keras.config.set_dtype_policy("float64")
    layer = make()
    output = layer(oracle.images_like(SHAPE), training=True)
    assert keras.backend.standardize_dtype(output.dtype) == "float64"
    assert {variable.dtype for variable in layer.weights} == {"float64"}
