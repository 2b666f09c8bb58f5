"""On a GPU without XLA around them, a layer's passes are compiled by themselves."""

import numpy as np
import pytest
import tensorflow as tf

from keras_densenet import layers
from keras_densenet.ops import compiled_for
from keras_densenet.ops import forms as forms_
from keras_densenet.ops.forms import passes, target
from tests import oracle
from tests.ops.test_forms import GPU, IMAGES, LAYERS, XLA_ON_GPU, chain
from tests.tiny import network, run_fresh


@pytest.fixture
def traces(monkeypatch):
    """Counts how often the passes of norm_relu and of a dense block are traced for XLA."""
    found = []
    real = forms_._traced_for

    def counting(wanted, function):
        run = real(wanted, function)

        def count(*arguments, **options):
            found.append((function.__name__, wanted))
            return run(*arguments, **options)

        return count

    monkeypatch.setattr(forms_, "_traced_for", counting)
    return found


@pytest.mark.slow
def test_in_a_graph_each_pass_of_each_layer_is_one_function_that_xla_must_compile(traces):
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    images = oracle.images_like((2, *model.input_shape[1:]), "float32")
    with compiled_for(GPU):
        for _ in range(3):
            model.train_on_batch(images, np.zeros(2))
    assert {wanted for _, wanted in traces} == {XLA_ON_GPU}
    assert len(traces) == 2 * (2 + 2)  # two blocks, a transition and a head; forward and backward


def test_in_eager_steps_nothing_is_traced_again(traces):
    forms_._kept.cache_clear()
    block, images = LAYERS["bottleneck"](), tf.constant(oracle.images_like(IMAGES, "float32"))
    with compiled_for(GPU):
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(block(images, training=True) ** 2)
            tape.gradient(loss, block.trainable_variables)
    assert len(traces) == 2
    forms_._kept.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_step_in_a_graph_equals_the_plain_composition():
    model, images = chain(LAYERS["bottleneck"]()), oracle.images_like(IMAGES)
    other = oracle.plain_model(model)

    def gradients(model):
        @tf.function(autograph=False)
        def run(images):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(images, training=True) ** 3)
            return [loss, *tape.gradient(loss, [v.value for v in model.trainable_variables])]

        found = run(tf.constant(images))
        return found, [node.op for node in run.get_concrete_function(tf.constant(images)).graph.as_graph_def().node]

    with compiled_for(GPU):
        found, _ = gradients(model)
    expected, _ = gradients(other)
    oracle.assert_close(found[0], expected[0], 1e-9, "loss")
    own = dict(zip(map(id, model.trainable_variables), found[1:], strict=True))
    theirs = dict(zip(map(id, other.trainable_variables), expected[1:], strict=True))
    for ours, its in oracle.matching(model, other):
        if ours.trainable:
            oracle.assert_close(own[id(ours)], theirs[id(its)], 1e-9, ours.path)
    oracle.assert_equal_weights(model, other)


def test_images_of_unknown_size_are_compiled_when_they_come():
    layer, images = layers.DenseBlock(1, 2), tf.constant(oracle.images_like(IMAGES, "float32"))
    layer.build(images.shape)

    def slope(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images, training=True) ** 2)
        return tape.gradient(loss, images)

    with compiled_for(GPU):
        run = tf.function(slope, input_signature=[tf.TensorSpec((None, None, None, 3))], autograph=False)
        found = run(images)
    oracle.assert_close(found, slope(images), 1e-4, "gradient of the images")


def test_who_runs_functions_eagerly_sees_plain_operations():
    with compiled_for(GPU):
        try:
            tf.config.run_functions_eagerly(True)
            run, _ = passes(lambda: target(), lambda: None)
            assert run() == GPU
        finally:
            tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_the_backward_pass_drops_what_the_forward_pass_dropped():
    """The newest features are linear in the last kernel: with its gradient's product they are the same sum."""
    block, images = LAYERS["plain"](dropout_rate=0.5, seed=3), tf.constant(oracle.images_like(IMAGES, "float32"))
    block.build(images.shape)
    kernel = block.h[-1][2].value
    with compiled_for(GPU), tf.GradientTape() as tape:
        newest = block(images, training=True)[..., -2:]
        loss = tf.reduce_sum(newest * oracle.images_like(newest.shape, "float32"))
        gradient = tape.gradient(loss, kernel)
    assert 0.3 < np.mean(newest == 0) < 0.7
    assert float(tf.reduce_sum(gradient * kernel)) == pytest.approx(float(loss), rel=1e-4)


def test_second_derivatives_are_refused_with_the_reason():
    block, images = LAYERS["bottleneck"](), tf.constant(oracle.images_like(IMAGES, "float32"))
    with compiled_for(GPU), tf.GradientTape() as outer:
        outer.watch(images)
        with tf.GradientTape() as inner:
            inner.watch(images)
            loss = tf.reduce_sum(block(images, training=True) ** 3)
        slope = tf.reduce_sum(inner.gradient(loss, images) ** 2)
    with pytest.raises(NotImplementedError, match=r"Second derivatives .* training=False"):
        outer.gradient(slope, images)


@pytest.mark.slow
def test_what_is_exported_holds_nothing_that_only_xla_can_run(tmp_path):
    model = network()

    class Trainer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((2, *model.input_shape[1:]))], autograph=False)
        def outputs_in_training(self, images):
            return model(images, training=True)

    trainer = Trainer()
    trainer.variables_ = [variable.value for variable in model.weights]
    with compiled_for(GPU):
        model.export(tmp_path / "network", verbose=False)
        tf.saved_model.save(trainer, tmp_path / "trainer")
    for name in ("network", "trainer"):
        assert b"Xla" not in (tmp_path / name / "saved_model.pb").read_bytes()


_REPLICAS = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras_densenet import layers, ops
from keras_densenet.compat import tensorflow as of_tensorflow
from keras_densenet.ops import forms
seen = []
real = of_tensorflow.device_type
forms.device_type = lambda: seen.append(real()) or "GPU"  # each replica's device, taken for a GPU
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
count = []
compiled = forms._compiled
forms._compiled = lambda function: count.append(function.__name__) or compiled(function)
for synchronised in (False, True):
    keras.utils.set_random_seed(0)
    if synchronised:
        ops.synchronise_statistics(strategy)
    with strategy.scope():
        block = layers.DenseBlock(1, 2, bottleneck=False)
        model = keras.Sequential([keras.Input((4, 4, 3)), block, keras.layers.GlobalAveragePooling2D()])
        model.compile("sgd", "mse", jit_compile=False)
    losses = model.fit(np.random.default_rng(0).normal(size=(4, 4, 4, 3)), np.zeros((4, 5)), epochs=2, verbose=0)
    print(len(count), *losses.history["loss"])
    count.clear()
"""


@pytest.mark.slow
def test_replicas_compile_their_parts_unless_they_share_statistics():
    alone, together = (list(map(float, line.split())) for line in run_fresh(_REPLICAS).splitlines())
    assert alone[0] == 2 * 2  # forward and backward pass on either replica
    assert together[0] == 0
    assert alone[2] < alone[1]
    assert together[2] < together[1]
