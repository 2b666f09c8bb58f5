"""What a function is compiled for is known where it is traced, and every set of forms is the same mathematics."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet import layers
from keras_densenet.ops import Target, compiled_for
from keras_densenet.ops.forms import forms, passes, target
from keras_densenet.ops.xla import XlaOnGpu
from tests import oracle

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
