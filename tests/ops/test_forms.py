"""What a function is compiled for is known where it is traced, and every set of forms is the same mathematics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet import layers
from keras_densenet.ops import Target, compiled_for
from keras_densenet.ops import forms as forms_
from keras_densenet.ops.forms import forms, passes, target
from keras_densenet.ops.xla import XlaOnGpu
from tests import oracle
from tests.tiny import network, run_fresh

XLA_ON_CPU, XLA_ON_GPU, CPU, GPU = (Target(xla, device) for xla in (True, False) for device in ("CPU", "GPU"))


def traced(function=lambda: None, **options):
    """The targets that a function sees while it is traced: in its body, in a loop's, in a function that it calls."""
    seen = []

    @tf.function(**options, autograph=False)
    def run():
        def body(i):
            seen.append(target())
            return i + 1

        seen.append(target())
        tf.function(lambda: seen.append(target()))()
        return tf.while_loop(lambda i: i < 2, body, [0])

    run.get_concrete_function()
    return set(seen)


@pytest.fixture
def on_a_cpu():
    with tf.device("CPU:0"):  # of a machine that may have a GPU
        yield


def test_it_is_xla_where_something_around_is_compiled_and_the_kernels_elsewhere(on_a_cpu):
    assert target() == CPU
    assert traced() == {CPU}
    assert traced(jit_compile=True) == {XLA_ON_CPU}


@pytest.mark.parametrize("wrap", [tf.function, lambda function: function], ids=["graph", "eager"])
def test_a_tape_sees_nothing_of_what_a_pass_computes(on_a_cpu, wrap):
    @wrap
    def slopes(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            (run,) = passes(tf.square)
            hidden, seen = run(x), tf.square(x)
        assert tape.gradient(hidden, x) is None
        return tape.gradient(seen, x)

    assert slopes(tf.constant(3.0)) == 6


def test_the_device_is_the_one_that_was_asked_for_though_it_is_not_there():
    with tf.device("GPU:0"):
        assert traced() == {GPU}
        assert traced(jit_compile=True) == {XLA_ON_GPU}


def test_a_scope_within_the_function_counts_before_one_around_it():
    seen = []

    @tf.function(autograph=False)
    def run():
        with tf.device("GPU:1"):
            seen.append(target())
            tf.function(lambda: seen.append(target()))()

    with tf.device("CPU:0"):
        run.get_concrete_function()
    assert seen == [GPU, GPU]


def test_without_a_scope_it_is_a_gpu_where_tensorflow_may_use_one(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"] if kind == "GPU" else [])
    assert target() == GPU
    assert traced(jit_compile=True) == {XLA_ON_GPU}
    with tf.device("CPU:0"):  # of a machine that has one
        assert target() == CPU
        assert traced(jit_compile=True) == {XLA_ON_CPU}


def test_what_is_asked_for_counts_until_it_ends_also_where_it_fails(on_a_cpu):
    def fail():
        with compiled_for(XLA_ON_GPU):
            assert traced() == {XLA_ON_GPU}
            with compiled_for(GPU):
                assert target() == GPU
            assert forms() is XlaOnGpu
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert target() == CPU


def test_a_backward_pass_is_traced_with_the_forms_of_its_forward_pass():
    with compiled_for(XLA_ON_GPU):
        forward, backward = passes(target, target)
    assert (forward(), backward()) == (XLA_ON_GPU, XLA_ON_GPU)


LAYERS = {
    "bottleneck": lambda **options: layers.DenseBlock(2, 2, **options),
    "plain": lambda **options: layers.DenseBlock(2, 2, bottleneck=False, **options),
    "transition": lambda **options: layers.Transition(0.7, **options),
    "head": lambda **options: layers.Head(**options),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def chain(layer, shape=(5, 4, 3)):
    return oracle.randomise(keras.Sequential([keras.Input(shape), layer]))


IMAGES = (3, 5, 4, 3)


@pytest.mark.slow
@every_layer
@pytest.mark.parametrize(
    ("wanted", "jit_compile"), [(XLA_ON_GPU, True), (GPU, False), (CPU, False)], ids=["xla-gpu", "gpu", "cpu"]
)
@pytest.mark.usefixtures("float64")
def test_all_forms_equal_the_plain_composition(make, wanted, jit_compile):
    with compiled_for(wanted):
        oracle.assert_equal_step(chain(make()), oracle.images_like(IMAGES), jit_compile=jit_compile)


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [XLA_ON_GPU, GPU], ids=["xla-gpu", "gpu"])
@pytest.mark.usefixtures("float64", "fixed_dropout")
def test_dropout_and_constant_statistics_equal_the_plain_composition_on_a_gpu(wanted):
    model = chain(LAYERS["bottleneck"](dropout_rate=0.3))
    for trainable in (True, False):
        model.layers[0].trainable = trainable
        with compiled_for(wanted):
            oracle.assert_equal_step(model, oracle.images_like(IMAGES), jit_compile=wanted.xla)


@pytest.mark.parametrize("wanted", [CPU, GPU, XLA_ON_CPU, XLA_ON_GPU], ids=["cpu", "gpu", "xla-cpu", "xla-gpu"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-9), ("float32", 1e-3)])
def test_variances_are_exact_where_means_are_a_thousand_times_the_deviations(wanted, dtype, rtol):
    """A float32 that large has four digits behind its mean; no form loses more than those have lost."""
    x = np.random.default_rng(0).normal(1000, 1, (8, 6, 6, 5))
    x += np.linspace(-2, 2, 8)[:, None, None, None]  # images differ, too
    rounded = x.astype(dtype).astype("float64")
    with compiled_for(wanted):
        moments = tf.function(forms().moments, jit_compile=wanted.xla, autograph=False)
    mean, variance = moments(tf.constant(x, dtype))
    np.testing.assert_allclose(mean, rounded.mean((0, 1, 2)), rtol=1e-12 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(variance, rounded.var((0, 1, 2)), rtol=rtol)


class TestCompiledAlone:
    """On a GPU without XLA around them, a layer's passes are compiled by themselves."""

    @pytest.fixture
    def traces(self, monkeypatch):
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
    def test_in_a_graph_each_pass_of_each_layer_is_one_function_that_xla_must_compile(self, traces):
        model = network()
        model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
        images = oracle.images_like((2, *model.input_shape[1:]), "float32")
        with compiled_for(GPU):
            for _ in range(3):
                model.train_on_batch(images, np.zeros(2))
        assert {wanted for _, wanted in traces} == {XLA_ON_GPU}
        assert len(traces) == 2 * (2 + 2)  # two blocks, a transition and a head; forward and backward

    def test_in_eager_steps_nothing_is_traced_again(self, traces):
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
    def test_a_step_in_a_graph_equals_the_plain_composition(self):
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

    def test_images_of_unknown_size_are_compiled_when_they_come(self):
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

    def test_who_runs_functions_eagerly_sees_plain_operations(self):
        with compiled_for(GPU):
            try:
                tf.config.run_functions_eagerly(True)
                run, _ = passes(lambda: target(), lambda: None)
                assert run() == GPU
            finally:
                tf.config.run_functions_eagerly(False)

    @pytest.mark.slow
    def test_the_backward_pass_drops_what_the_forward_pass_dropped(self):
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

    def test_second_derivatives_are_refused_with_the_reason(self):
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
    def test_what_is_exported_holds_nothing_that_only_xla_can_run(self, tmp_path):
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
