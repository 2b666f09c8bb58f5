"""Networks of signals and volumes against the plain composition of Keras' own layers, and what is told of them."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_densenet as kd
from keras_densenet import layers
from keras_densenet.ops import Target, compiled_for
from tests import oracle
from tests.tiny import network

SIGNAL, VOLUME = (21, 2), (9, 12, 10, 2)
SMALL = {"signal": (9, 3), "volume": (5, 6, 4, 2)}
both = pytest.mark.parametrize("shape", SMALL.values(), ids=SMALL)


def images_for(model, batch=2, dtype="float64"):
    return oracle.images_like((batch, *model.input_shape[1:]), dtype)


def block_model(shape, num_layers=2, growth_rate=2, **options):
    block = layers.DenseBlock(num_layers, growth_rate, name="block1", **options)
    return oracle.randomise(keras.Sequential([keras.Input(shape), block]))


@pytest.mark.usefixtures("float64")
class TestInFloat64:
    @both
    @pytest.mark.parametrize("kind", ["BC", "plain"])
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_network_equals_the_plain_composition(self, shape, kind, training):
        model = oracle.randomise(network(kind, input_shape=shape))
        oracle.assert_equal_step(model, images_for(model), training)

    @pytest.mark.parametrize("shape", [SIGNAL, VOLUME], ids=SMALL)
    @pytest.mark.parametrize("stem", ["imagenet", "deep"])
    def test_stems_and_pools_equal_the_plain_composition(self, shape, stem):
        model = oracle.randomise(network(stem=stem, blocks=(1, 1), input_shape=shape))
        oracle.assert_equal_step(model, images_for(model))

    @pytest.mark.slow
    @pytest.mark.parametrize("shape", [SIGNAL, VOLUME], ids=SMALL)
    def test_second_derivatives_equal_those_of_the_plain_composition(self, shape):
        model = oracle.randomise(network(blocks=(1, 1), stem="imagenet", input_shape=shape))
        images = tf.constant(images_for(model))
        found, expected = (oracle.curvature(each, images, False) for each in (model, oracle.plain_model(model)))
        assert np.abs(found).max() > 0
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    @pytest.mark.slow
    @both
    @pytest.mark.parametrize("bottleneck", [True, False], ids=["bottleneck", "plain"])
    @pytest.mark.parametrize("wanted", [Target(True, "CPU"), Target(True, "GPU"), Target(False, "GPU")], ids=str)
    def test_all_forms_equal_the_plain_composition(self, shape, bottleneck, wanted):
        model = block_model(shape, bottleneck=bottleneck)
        with compiled_for(wanted):
            oracle.assert_equal_step(model, images_for(model), jit_compile=wanted.xla)

    @both
    @pytest.mark.parametrize("trainable", [True, False], ids=["trained", "frozen"])
    @pytest.mark.usefixtures("fixed_dropout")
    def test_dropout_and_a_frozen_block_equal_the_plain_composition(self, shape, trainable):
        model = block_model(shape, dropout_rate=0.3)
        model.layers[0].trainable = trainable
        oracle.assert_equal_step(model, images_for(model))

    @pytest.mark.slow
    @settings(
        max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        size=st.lists(st.integers(2, 5), min_size=1, max_size=3),
        channels=st.integers(1, 4),
        batch=st.integers(1, 3),
        num_layers=st.integers(1, 3),
        growth_rate=st.integers(1, 4),
        bottleneck=st.booleans(),
        training=st.booleans(),
    )
    def test_a_block_of_any_shape_equals_the_plain_composition(
        self, size, channels, batch, num_layers, growth_rate, bottleneck, training
    ):
        model = block_model((*size, channels), num_layers, growth_rate, bottleneck=bottleneck)
        oracle.assert_equal_step(model, images_for(model, batch), training)

    @pytest.mark.slow
    @pytest.mark.parametrize("shape", [SIGNAL, VOLUME], ids=SMALL)
    def test_a_network_learns_under_xla_as_the_plain_composition_does(self, shape):
        model = oracle.randomise(network(stem="imagenet", blocks=(1, 1), input_shape=shape))
        other, images, labels = oracle.plain_model(model), images_for(model, 6), np.arange(6) % 5
        losses = {}
        for each in (model, other):
            optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
            each.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=each is model)
            losses[each] = [each.train_on_batch(images, labels) for _ in range(3)]
        oracle.assert_close(losses[model], losses[other], 1e-9, "losses")
        oracle.assert_equal_weights(model, other, 1e-8)


@pytest.mark.slow
@both
@pytest.mark.parametrize("dtype", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_policies_train_and_infer(shape, dtype):
    model = network(stem="imagenet", input_shape=tuple(2 * size for size in shape[:-1]) + shape[-1:], dtype=dtype)
    images = images_for(model, 2, "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True)[:, 0])
    assert all(np.isfinite(g).all() for g in tape.gradient(loss, [v.value for v in model.trainable_variables]))
    assert np.isfinite(model(images)).all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 2), (4, 5, 2), (4, 5, 6, 2)], ids=["signal", "image", "volume"])
def test_stem_pool_in_training_is_the_pool_with_its_gradient(shape, stride):
    x = tf.constant(np.random.default_rng(0).random((2, *shape)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours, plain = kd.ops.stem_pool_in_training(x, stride), kd.ops.stem_pool(x, stride)
        upstream = np.random.default_rng(1).normal(size=ours.shape)
        sums = [tf.reduce_sum(y * upstream) for y in (ours, plain)]
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_allclose(*(tape.gradient(each, x) for each in sums), rtol=1e-12)


@pytest.mark.slow
@both
def test_unknown_sizes_run_on_any_size(shape):
    model = oracle.randomise(network(input_shape=(*[None] * (len(shape) - 1), shape[-1])))
    run = tf.function(model, input_signature=[tf.TensorSpec(model.input_shape)])
    for add in (0, 3):
        images = oracle.images_like((2, *(size + add for size in shape[:-1]), shape[-1]), "float32")
        fixed = network(input_shape=images.shape[1:])
        fixed.set_weights(model.get_weights())
        oracle.assert_close(run(images), fixed(images), 1e-5, "output")


def test_thinner_than_the_total_stride_is_refused_with_it():
    sentence = r"^input_shape must be at least 32x32x32 voxels, the network's total stride .*\(16, 256, 256, 1\)$"
    with pytest.raises(ValueError, match=sentence):
        kd.DenseNet121(input_shape=(16, 256, 256, 1))
    with pytest.raises(ValueError, match=r"^input_shape must be at least 32 steps, .*\(16, 12\)$"):
        kd.DenseNet121(input_shape=(16, 12))


def test_a_volume_that_proves_too_thin_at_run_time_is_refused():
    model = network(input_shape=(None, None, None, 1))
    with pytest.raises(ValueError, match=r"The volume .* 2x2x2 pool of layer 'transition1'.*Received: 1x4x4 voxels"):
        model(np.zeros((1, 1, 4, 4, 1), "float32"))


def test_a_layer_takes_what_it_was_built_for():
    block = layers.DenseBlock(1, 2)
    block(np.zeros((1, 4, 4, 4, 3), "float32"))
    with pytest.raises(ValueError, match=r"expected ndim=5, found ndim=4"):
        block(np.zeros((1, 4, 4, 3), "float32"))
    with pytest.raises(ValueError, match=r"expected min_ndim=3, found ndim=2"):
        layers.DenseBlock(1, 2)(np.zeros((4, 3), "float32"))


@both
@pytest.mark.parametrize("stem", ["cifar", "deep"])
def test_costs_are_those_of_the_built_network(shape, stem):
    model = network(stem=stem, input_shape=tuple(4 * size for size in shape[:-1]) + shape[-1:])
    cost = kd.cost(model)
    assert cost.trainable_parameters == sum(math.prod(variable.shape) for variable in model.trainable_variables)
    assert cost == kd.cost(model.architecture)
    macs = 0
    for layer in oracle.plain_model(model).layers:
        if isinstance(layer, keras.layers.Conv1D | keras.layers.Conv3D):
            macs += math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape)
        if isinstance(layer, keras.layers.Dense):
            macs += math.prod(layer.kernel.shape)
    assert cost.macs == macs
    for stage in cost.stages[:-1]:
        assert model.get_layer(stage.stage.name).output.shape[1:] == (*stage.stage.size, stage.stage.out_channels)


@pytest.fixture(scope="module", params=SMALL)
def made(request):
    """A model of signals and one of volumes, with images for it."""
    keras.utils.set_random_seed(0)
    model = oracle.randomise(network(stem="deep", input_shape=(*(12,) * (1 + 2 * (request.param == "volume")), 2)))
    return model, images_for(model, 3, "float32")


@pytest.mark.slow
def test_a_saved_network_answers_as_before(made, tmp_path):
    model, images = made
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images), model(images))
    assert loaded.architecture == model.architecture
    kd.save_weights(model, tmp_path / "model.weights.h5")
    other = kd.DenseNet(**dataclasses.asdict(model.architecture), weights=tmp_path / "model.weights.h5")
    np.testing.assert_allclose(other(images), model(images), rtol=1e-6)


def test_the_folded_network_has_the_same_answers_and_pyramid(made):
    model, images = made
    folded = kd.fold(model)
    np.testing.assert_allclose(folded(images), model(images), rtol=1e-4, atol=1e-6)
    expected, found = (kd.feature_pyramid(each)(images) for each in (model, folded))
    assert [*found] == [*expected] == ["P1", "P2", "P3"]
    for level, size in {"P1": 6, "P2": 3, "P3": 1}.items():
        np.testing.assert_allclose(found[level], expected[level], rtol=1e-4, atol=1e-4)
        assert set(found[level].shape[1:-1]) == {size}


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_new_classifier_pools_over_all_dimensions(made, pooling):
    model, images = made
    other = model.reset_classifier(4, None, pooling)
    features = keras.Model(model.input, model.get_layer("head").output)(images).numpy()
    pooled = {"avg": np.mean, "max": np.max}[pooling](features, tuple(range(1, features.ndim - 1)))
    kernel, bias = other.get_layer("classifier").get_weights()
    np.testing.assert_allclose(other(images), pooled @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_reuse_table_and_time_are_told(made):
    model, _ = made
    rank = len(model.input_shape) - 2
    rows, blocks = kd.explain.describe(model), kd.feature_reuse(model)
    assert rows[0].size == (6,) * rank
    assert rows[0].layers == ", ".join(["x".join("3" * rank)] * 3) + " conv, stride 2"
    assert [block.weights.shape for block in blocks] == [(3, 3), (2, 2)]
    assert len(kd.explain.stage_seconds(model, batch_size=1, rounds=1)) == len(rows)


@pytest.mark.parametrize("method", kd.explain.METHODS)
def test_heat_is_of_the_size_of_what_it_is_of(made, method, tmp_path):
    model, images = made
    found = kd.grad_cam(model, images, level="P1", method=method)
    assert found.maps.shape == images.shape[:-1]
    assert 0 <= found.maps.min() < found.maps.max() <= 1
    kd.explain.draw_activation(images[0], found.maps[0], tmp_path / "seen.png", "what speaks for it")
    assert (tmp_path / "seen.png").read_bytes().startswith(b"\x89PNG")


def test_at_the_last_level_heat_is_the_classifiers_weighted_sum():
    model = oracle.randomise(network(input_shape=(8, 10, 6, 1)))
    images = images_for(model, 2, "float32")
    features = keras.Model(model.input, model.pyramid_outputs["P1"])(images).numpy()
    found, (kernel, _) = kd.grad_cam(model, images), (weight.numpy() for weight in model.layers[-1].weights)
    maps = np.maximum(np.einsum("bdhwc,cb->bdhw", features, kernel[:, found.classes]), 0)
    maps /= maps.max((1, 2, 3), keepdims=True)
    for axis, (own, size) in enumerate(zip(maps.shape[1:], images.shape[1:-1], strict=True), 1):
        places = np.clip((np.arange(size) + 0.5) * own / size - 0.5, 0, own - 1)  # linear between pixels' centres
        weights = np.maximum(0, 1 - abs(places[:, None] - np.arange(own)))
        maps = np.moveaxis(np.tensordot(maps, weights, (axis, 1)), -1, axis)
    np.testing.assert_allclose(found.maps, maps, atol=1e-5)


def test_heat_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"heat a map of its size.*\(4, 4, 4, 1\), heat of shape \(4, 4\)$"):
        kd.explain.draw_activation(np.zeros((4, 4, 4, 1)), np.zeros((4, 4)), tmp_path / "a.png")


@pytest.mark.slow
def test_an_export_serves_them_as_keras_answers(made, tmp_path):
    pytest.importorskip("tensorflow_serving")
    model, images = made
    folder = kd.export_saved_model(model, tmp_path, "net", levels=["P2"])
    assert "image_bytes" not in kd.serving.check_saved_model(folder).signatures
    native = kd.serving.NativeModel(folder)
    found = native.run("serving_default", {"image": images})
    np.testing.assert_allclose(found["probabilities"], model(images), rtol=1e-4, atol=1e-5)
    features = native.run("features", {"image": images})["P2"]
    np.testing.assert_allclose(features, kd.feature_pyramid(model)(images)["P2"], rtol=1e-4, atol=1e-4)
    native.close()


def test_values_are_preprocessed_but_not_resized(made):
    model, images = made
    mode = {"mean": [1.0, 2.0], "std": [2.0, 4.0]}
    raw = model.with_preprocessing(mode)
    np.testing.assert_allclose(raw(images * [2.0, 4.0] + [1.0, 2.0]), model(images), rtol=1e-3, atol=1e-5)
    assert raw.framing.size == raw.input_shape[1:-1]


def test_what_resizes_is_for_images():
    with pytest.raises(ValueError, match=r"resizes images; signals and volumes come in the network's own size"):
        network(input_shape=(8, 8, 8, 1)).with_preprocessing("unit", size=8)


def test_a_hypermodel_builds_networks_of_volumes():
    keras_tuner = pytest.importorskip("keras_tuner")
    space = kd.DenseNetHyperModel((8, 8, 8, 1), 3, blocks="1 1", growth_rate=2, theta=0.5)
    assert space.build(keras_tuner.HyperParameters()).input_shape == (None, 8, 8, 8, 1)
