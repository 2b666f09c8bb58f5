"""The dense block against the plain composition of Keras' own layers."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_densenet.layers import DenseBlock
from keras_densenet.ops import Target, compiled_for
from keras_densenet.ops.convolution import convolve
from tests import oracle

both_kinds = pytest.mark.parametrize("bottleneck", [True, False], ids=["bottleneck", "plain"])


def chain(shape=(5, 4, 3), num_layers=3, growth_rate=2, bottleneck=True, **options):
    """A model of one block, its weights such that no two channels are alike."""
    block = DenseBlock(num_layers, growth_rate, bottleneck, name="block1", **options)
    return oracle.randomise(keras.Sequential([keras.Input(shape), block]))


@pytest.mark.usefixtures("float64")
class TestInFloat64:
    @both_kinds
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_outputs_gradients_and_statistics_equal_the_plain_composition(self, bottleneck, training):
        model = chain(bottleneck=bottleneck)
        oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 3)), training)

    @pytest.mark.slow
    @both_kinds
    def test_equals_the_plain_composition_under_xla(self, bottleneck):
        model = chain(num_layers=2, bottleneck=bottleneck)
        oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 3)), jit_compile=True)

    @pytest.mark.slow
    @settings(
        max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        images=st.tuples(*[st.integers(*limits) for limits in ((1, 3), (2, 7), (2, 7), (1, 5))]),
        num_layers=st.integers(1, 4),
        growth_rate=st.integers(1, 4),
        bottleneck=st.booleans(),
        training=st.booleans(),
    )
    def test_equals_the_plain_composition_in_any_shape(self, images, num_layers, growth_rate, bottleneck, training):
        model = chain(images[1:], num_layers, growth_rate, bottleneck)
        oracle.assert_equal_step(model, oracle.images_like(images), training)

    @both_kinds
    def test_statistics_of_every_reader_equal_the_shared_ones_after_three_steps(self, bottleneck):
        model = chain(bottleneck=bottleneck)
        other = oracle.plain_model(model)
        for seed in range(3):
            images = oracle.images_like((2, 5, 4, 3), seed=seed)
            model(images, training=True)
            other(images, training=True)
        oracle.assert_equal_weights(model, other)

    @both_kinds
    def test_network_trained_as_the_plain_composition_can_be_moved_into_the_fast_block(self, bottleneck):
        model = chain(bottleneck=bottleneck)
        other = oracle.plain_model(model)
        images = oracle.images_like((3, 5, 4, 3))
        other.compile(keras.optimizers.SGD(0.1), "mse")
        for _ in range(3):
            other.train_on_batch(images, oracle.images_like((3, *other.output_shape[1:]), seed=5))
        oracle.copy_weights(model, other, back=True)
        oracle.assert_close(model(images), other(images), 1e-9, "output")

    @pytest.mark.slow
    @both_kinds
    @pytest.mark.parametrize("jit_compile", [False, True], ids=["eager", "xla"])
    def test_frozen_block_keeps_weights_and_statistics_and_passes_the_right_gradient(self, bottleneck, jit_compile):
        model = chain(num_layers=2, bottleneck=bottleneck)
        model.layers[0].trainable = False
        before = [variable.numpy() for variable in model.weights]
        assert model.trainable_variables == []
        oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 3)), training=True, jit_compile=jit_compile)
        for variable, value in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(variable, value)

    def test_thawed_block_trains_again(self):
        model = chain()
        model.layers[0].trainable = False
        model(oracle.images_like((3, 5, 4, 3)), training=True)
        model.layers[0].trainable = True
        oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 3)))

    @both_kinds
    def test_constant_and_zero_channels_equal_the_plain_composition(self, bottleneck):
        images = oracle.images_like((3, 5, 4, 3))
        images[..., 0], images[..., 1] = 0, 7
        oracle.assert_equal_step(chain(bottleneck=bottleneck), images)

    @both_kinds
    @pytest.mark.parametrize("names", [("gamma",), ("beta",), ("gamma", "beta")], ids="-".join)
    def test_scales_and_shifts_that_have_nearly_vanished_get_the_right_gradients(self, bottleneck, names):
        model = chain(bottleneck=bottleneck)
        for variable in model.trainable_weights:
            if variable.name.endswith(names):
                variable.assign(variable * 10.0 ** -(np.arange(variable.shape[0]) ** 1.5))
        oracle.assert_equal_step(model, oracle.images_like((3, 5, 4, 3)))

    @both_kinds
    def test_block_used_twice_in_one_model_equals_the_plain_composition_used_twice(self, bottleneck):
        shared = chain(bottleneck=bottleneck)
        plain = oracle.plain_model(shared)

        def twice(block):
            a, b = keras.Input((5, 4, 3)), keras.Input((5, 4, 3))
            return keras.Model([a, b], keras.layers.Subtract()([block(a), block(b)]))

        images = [tf.constant(oracle.images_like((2, 5, 4, 3), seed=seed)) for seed in (3, 4)]
        results = {}
        for name, block in (("ours", shared), ("plain", plain)):
            model = twice(block)
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = model(images, training=True)
                loss = tf.reduce_sum(outputs**3)
            found = tape.gradient(loss, [*images, *(v.value for v in block.trainable_variables)])
            results[name] = outputs, found[:2], dict(zip(map(id, block.trainable_variables), found[2:], strict=True))
        ours, theirs = results["ours"], results["plain"]
        oracle.assert_close(ours[0], theirs[0], 1e-9, "output")
        oracle.assert_close(ours[1], theirs[1], 1e-9, "gradients of the images")
        for variable, other in oracle.matching(shared, plain):
            if variable.trainable:
                oracle.assert_close(ours[2][id(variable)], theirs[2][id(other)], 1e-9, variable.path)
        oracle.assert_equal_weights(shared, plain)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bottleneck", "jit_compile"),
    [(True, False), (False, False), (True, True)],
    ids=["bottleneck", "plain", "bottleneck-xla"],
)
def test_float32_equals_the_plain_composition_within_rounding(bottleneck, jit_compile):
    """A pre-activation within rounding of zero may flip its ReLU: a few elements of a gradient may then differ."""
    model = chain((8, 8, 4), 2, 4, bottleneck)
    other, images = oracle.plain_model(model), oracle.images_like((4, 8, 8, 4), "float32")
    output, *gradients = oracle.step(model, images, jit_compile=jit_compile)
    expected, *gradients_expected = oracle.step(other, images)
    oracle.assert_close(output, expected, 1e-5, "output")
    oracle.assert_equal_weights(model, other, 1e-5)
    pairs = [(gradients[0], gradients_expected[0])]
    pairs += [
        (gradients[1][id(a)], gradients_expected[1][id(b)]) for a, b in oracle.matching(model, other) if a.trainable
    ]
    wrong = sum(np.count_nonzero(abs(a - b) > 1e-4 * abs(b).max() + 1e-6) for a, b in pairs)
    assert wrong <= 0.01 * sum(a.size for a, _ in pairs)


def test_image_comes_first_in_the_features():
    images = oracle.images_like((2, 5, 4, 3), "float32")
    np.testing.assert_array_equal(chain()(images)[..., :3], images)


@both_kinds
def test_computed_shape_is_the_shape_of_the_output(bottleneck):
    block = DenseBlock(3, 5, bottleneck)
    assert block(np.zeros((2, 3, 4, 6), "float32")).shape == block.compute_output_shape((2, 3, 4, 6)) == (2, 3, 4, 21)
    assert block.compute_output_shape((None, None, None, 6)) == (None, None, None, 21)


def test_call_without_training_is_inference():
    model, images = chain(), oracle.images_like((2, 5, 4, 3), "float32")
    statistics = [variable.numpy() for variable in model.non_trainable_variables]
    np.testing.assert_array_equal(model.layers[0](images), model.layers[0](images, training=False))
    for variable, value in zip(model.non_trainable_variables, statistics, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_unknown_image_size_runs_on_any_size():
    model = chain((None, None, 3))
    for size in ((5, 4), (3, 7)):
        images = oracle.images_like((2, *size, 3), "float32")
        oracle.assert_close(model(images), oracle.plain_model(model)(images), 1e-5, "output")


def test_weights_are_named_after_the_layers_of_the_paper():
    reader = ("layer{}_norm1_gamma", "layer{}_norm1_beta", "layer{}_conv1_kernel")
    bottleneck = ("layer{}_norm2_gamma", "layer{}_norm2_beta", "layer{}_conv2_kernel")
    moving = ("layer{}_norm2_moving_mean", "layer{}_norm2_moving_variance")
    shared = {"features_moving_mean", "features_moving_variance"}

    def names(**options):
        return {variable.name for variable in chain(num_layers=2, **options).weights}

    assert names(bottleneck=False) == shared | {name.format(i) for name in reader for i in (1, 2)}
    assert names() == shared | {name.format(i) for name in reader + bottleneck + moving for i in (1, 2)}


def test_statistics_shared_by_all_readers_are_stored_once():
    shapes = {variable.name: variable.shape for variable in chain(num_layers=3, growth_rate=2).weights}
    assert shapes["features_moving_mean"] == shapes["features_moving_variance"] == (3 + 2 * 2,)
    assert shapes["layer3_norm1_gamma"] == (7,)


def test_kernels_start_as_untruncated_he_normal_by_fan_out_and_norms_as_identity():
    block = DenseBlock(2, 32)
    block.build((None, 8, 8, 64))
    for variable in block.weights:
        if variable.name.endswith("kernel"):
            height, width, _, out = variable.shape
            values = variable.numpy() / np.sqrt(2 / (height * width * out))
            assert abs(values.mean()) < 0.05
            assert abs(values.std() - 1) < 0.05
            assert abs(values).max() > 3  # a truncated normal ends at 2.3
        else:
            starts_at_one = variable.name.endswith(("gamma", "variance"))
            np.testing.assert_array_equal(variable, np.full(variable.shape, float(starts_at_one)))


def test_configuration_survives_a_round_trip():
    options = {"dropout_rate": 0.1, "momentum": 0.8, "epsilon": 1e-3, "seed": 4, "name": "b", "trainable": False}
    block = DenseBlock(3, 5, False, **options)
    again = DenseBlock.from_config(block.get_config())
    assert again.get_config() == block.get_config()
    assert all(block.get_config()[key] == value for key, value in options.items())
    assert (again.num_layers, again.growth_rate, again.bottleneck) == (3, 5, False)


@pytest.mark.parametrize(
    ("wrong", "received"),
    [
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_layers": 1.5}, "num_layers=1.5"),
        ({"growth_rate": 0}, "growth_rate=0"),
        ({"growth_rate": "2"}, "growth_rate='2'"),
        ({"growth_rate": True}, "growth_rate=True"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0"),
        ({"dropout_rate": -0.1}, "dropout_rate=-0.1"),
        ({"momentum": 1.1}, "momentum=1.1"),
        ({"epsilon": 0}, "epsilon=0"),
    ],
)
def test_wrong_argument_is_named_with_its_value(wrong, received):
    with pytest.raises(ValueError, match=rf"^[^\n]*Received: {received}$"):
        DenseBlock(**{"num_layers": 1, "growth_rate": 2, **wrong})


def test_unknown_channels_are_refused():
    with pytest.raises(ValueError, match=r"channels of the input to layer 'block1' must be known.*None"):
        DenseBlock(1, 2, name="block1")(keras.Input((4, 4, None)))


def test_other_channels_than_it_was_built_for_are_refused():
    model = chain()
    with pytest.raises(ValueError, match=r"expected axis -1 .* value 3, but received .*\(1, 5, 4, 2\)"):
        model.layers[0](np.zeros((1, 5, 4, 2), "float32"))


@pytest.mark.parametrize(("dtype", "window"), [("float32", "1x3"), ("bfloat16", "3x3")])
def test_xla_convolves_in_rows_where_sums_are_not_rounded(dtype, window):
    x, kernel = tf.zeros((2, 5, 4, 3), dtype), tf.zeros((3, 3, 3, 2), dtype)
    with compiled_for(Target(xla=True, device="CPU")):
        program = tf.function(convolve, jit_compile=True).experimental_get_compiler_ir(x, kernel)
    assert re.findall(r"window={size=(\w+)", program(stage="hlo", platform_name="CPU")) == [window]
