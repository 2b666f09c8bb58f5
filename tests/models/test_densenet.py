"""Whole networks of every kind against the plain composition, in all shapes and under all policies."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests import oracle
from tests.tiny import KINDS, STEMS, network

every_stem = pytest.mark.parametrize("stem", STEMS)
every_kind = pytest.mark.parametrize("kind", KINDS)


def images_for(model, batch=3, dtype="float64"):
    return oracle.images_like((batch, *model.input_shape[1:]), dtype)


@pytest.mark.usefixtures("float64")
class TestInFloat64:
    @pytest.mark.slow
    @every_kind
    @every_stem
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_network_equals_the_plain_composition(self, kind, stem, training):
        model = oracle.randomise(network(kind, stem))
        oracle.assert_equal_step(model, images_for(model), training)

    @pytest.mark.slow
    @every_kind
    @pytest.mark.usefixtures("fixed_dropout")
    def test_network_with_dropout_equals_the_plain_composition(self, kind):
        model = oracle.randomise(network(kind, dropout_rate=0.3))
        oracle.assert_equal_step(model, images_for(model))

    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "stem"), [("BC", "imagenet"), ("BC", "deep"), ("plain", "cifar")])
    def test_network_learns_under_xla_as_the_plain_composition_does(self, kind, stem):
        """Losses, weights and statistics over three steps of SGD with momentum, from the same start."""
        model = oracle.randomise(network(kind, stem, blocks=(1, 1)))
        other = oracle.plain_model(model)
        images, labels = images_for(model, 6), np.arange(6) % 5
        losses = {}
        for each in (model, other):
            optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
            each.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=each is model)
            losses[each] = [each.train_on_batch(images, labels) for _ in range(3)]
        oracle.assert_close(losses[model], losses[other], 1e-9, "losses")
        oracle.assert_equal_weights(model, other, 1e-8)

    @pytest.mark.slow
    @every_stem
    @pytest.mark.parametrize("shape", [(29, 29, 1), (33, 47, 4), (8, 8, 2), (9, 15, 3)])
    def test_odd_sizes_and_any_channel_count_equal_the_plain_composition(self, stem, shape):
        model = oracle.randomise(network(stem=stem, input_shape=shape))
        oracle.assert_equal_step(model, images_for(model, 2))

    def test_batch_of_one_equals_the_plain_composition(self):
        model = oracle.randomise(network())
        oracle.assert_equal_step(model, images_for(model, 1))

    def test_frozen_backbone_equals_the_plain_composition_and_trains_the_classifier_only(self):
        model = oracle.randomise(network())
        for layer in model.layers[:-1]:
            layer.trainable = False
        assert [variable.path for variable in model.trainable_variables] == ["classifier/kernel", "classifier/bias"]
        oracle.assert_equal_step(model, images_for(model))

    def test_image_as_small_as_the_total_stride_runs(self):
        for stem in ("imagenet", "deep"):
            model = network("plain", stem, blocks=(1, 1), input_shape=(8, 8, 3))
            oracle.assert_equal_step(oracle.randomise(model), images_for(model))


def test_wide_image_of_an_imagenet_network_has_the_expected_features():
    model = network(stem="imagenet", blocks=(1, 1, 1, 1), input_shape=(224, 192, 3), include_top=False)
    features = model(images_for(model, 1, "float32"))
    assert features.shape == (1, 7, 6, model.output_shape[-1])
    oracle.assert_close(features, oracle.plain_model(model)(images_for(model, 1, "float32")), 1e-4, "features")


@every_stem
def test_unknown_image_size_runs_on_any_size(stem):
    model = oracle.randomise(network(stem=stem, input_shape=(None, None, 3)))
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for size in ((29, 33), (16, 9)):
        images = oracle.images_like((2, *size, 3), "float32")
        fixed = network(stem=stem, input_shape=(*size, 3))
        fixed.set_weights(model.get_weights())
        oracle.assert_close(run(images), fixed(images), 1e-5, "output")


def test_features_of_a_headless_network_take_any_size():
    model = network(include_top=False, input_shape=None)
    assert model.input_shape == (None, None, None, 3)
    assert model(np.zeros((1, 13, 6, 3), "float32")).shape == (1, 6, 3, model.output_shape[-1])


def test_network_used_twice_in_one_model_has_one_set_of_weights():
    backbone = network(include_top=False, pooling="avg")
    a, b = keras.Input((9, 8, 3)), keras.Input((9, 8, 3))
    siamese = keras.Model([a, b], keras.layers.Subtract()([backbone(a), backbone(b)]))
    images = images_for(backbone, 2, "float32")
    assert len(siamese.weights) == len(backbone.weights)
    np.testing.assert_array_equal(siamese([images, images]), np.zeros((2, backbone.output_shape[-1])))
    assert kd.cost(backbone) == kd.cost(network(include_top=False))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_mixed_precision_gives_float32_logits(policy, pooling):
    keras.config.set_dtype_policy(policy)
    model = network(classifier_activation=None, pooling=pooling)
    assert keras.backend.standardize_dtype(model(images_for(model, 2, "float32")).dtype) == "float32"
    blocks = [layer for layer in model.layers if isinstance(layer, kd.layers.DenseBlock)]
    assert {block.output.dtype for block in blocks} == {policy.removeprefix("mixed_")}
    assert {variable.dtype for variable in model.weights} == {"float32"}


def test_float64_policy_holds_from_end_to_end():
    keras.config.set_dtype_policy("float64")
    model = network()
    assert {variable.dtype for variable in model.weights} == {"float64"}
    assert keras.backend.standardize_dtype(model(images_for(model)).dtype) == "float64"


def test_summary_reads_like_the_papers_table():
    model = network(stem="imagenet", blocks=(1, 1, 1))
    assert [layer.name for layer in model.layers] == [
        *("image", "stem", "stem_pool", "block1", "transition1", "block2", "transition2", "block3"),
        *("head", "pool", "classifier"),
    ]


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match=r"^keras_densenet computes in NHWC: .*Received: 'channels_first'$"):
        network()


def test_no_layer_changes_under_channels_first_once_it_is_built():
    model = network(stem="imagenet", classifier_activation=None)
    other = network(stem="cifar", classifier_activation=None)
    expected = [each(images_for(each, 2, "float32")) for each in (model, other)]
    keras.config.set_image_data_format("channels_first")
    for each, outputs in zip((model, other), expected, strict=True):
        np.testing.assert_array_equal(each(images_for(each, 2, "float32")), outputs)


def test_image_that_proves_too_small_at_run_time_is_refused():
    model = network(input_shape=(None, None, 3))
    with pytest.raises(ValueError, match=r"too small for the 2x2 pool of layer 'transition1'.*Received: 1x4 pixels"):
        model(np.zeros((1, 1, 4, 3), "float32"))


def test_image_that_proves_too_small_in_a_graph_of_unknown_size_is_refused():
    """Keras' predict gives up static sizes after a few different ones; the mean over no pixel would be NaN."""
    model = network(input_shape=(None, None, 3))
    run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3))])
    for _ in range(20):  # what comes first may differ from run to run
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="too small for the 2x2 pool"):
            run(np.zeros((1, 1, 4, 3), "float32"))


def test_every_check_in_a_graph_comes_before_what_it_checks():
    """All that follows the first check waits for it: nothing else can fail first."""
    model = network(input_shape=(None, None, 3))
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((None, None, None, 3))).graph
    operations = graph.get_operations()
    checks = [operation for operation in operations if operation.type in ("Assert", "If", "StatelessIf")]
    assert len(checks) == len(model.architecture.blocks) - 1
    waiting = {other for operation in operations for other in operation.control_inputs if operation.type == "Identity"}
    assert set(checks) <= waiting


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["as it is", "folded", "with preprocessing"])
@every_stem
def test_an_empty_batch_gives_as_many_outputs(stem, kind):
    model = network(stem=stem)
    model = kd.fold(model) if kind == "folded" else model
    model = model.with_preprocessing("torch") if kind == "with preprocessing" else model
    images = images_for(model, 0, "float32")
    compiled = tf.function(model, jit_compile=True)
    unknown = tf.function(model, input_signature=[tf.TensorSpec((None, *images.shape[1:]))])
    for call in (model, lambda x: model(x, training=False), model.predict, model.predict_on_batch, compiled, unknown):
        assert call(images).shape == (0, 5)
    assert model.predict(images_for(model, 3, "float32"), batch_size=2, verbose=0).shape == (3, 5)
