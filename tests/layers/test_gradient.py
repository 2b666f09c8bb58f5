"""The hand-written gradient: that it is what training uses, what it keeps in memory, and where it ends."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_densenet import layers
from tests.oracle import curvature, images_like, plain_model, randomise
from tests.tiny import network, run_fresh


@pytest.fixture
def calls(monkeypatch):
    """Counts the passes through the hand-written gradient."""
    op = importlib.import_module("keras_densenet.ops.dense_block")
    count = []
    real = op.dense_block_gradient

    def counting(*arguments, **options):
        count.append(options)
        return real(*arguments, **options)

    monkeypatch.setattr(op, "dense_block_gradient", counting)
    return count


@pytest.mark.slow
def test_training_goes_through_the_hand_written_gradient_once_per_block(calls):
    """Under XLA, too: see `test_gradient_accumulation_works`."""
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.train_on_batch(images_like((2, *model.input_shape[1:]), "float32"), np.zeros(2))
    assert len(calls) == 2


def test_a_frozen_block_in_training_goes_through_it_with_constant_statistics(calls):
    block = layers.DenseBlock(2, 3, trainable=False)
    images = tf.constant(images_like((2, 4, 4, 3), "float32"))
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.reduce_sum(block(images, training=True))
    assert tape.gradient(loss, images).shape == images.shape
    assert calls == [{"batch_statistics": False}]


both_ways = pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])


@both_ways
def test_second_derivatives_are_refused_in_training_and_right_in_inference(float64, jit_compile):
    block = randomise(keras.Sequential([keras.Input((4, 4, 3)), layers.DenseBlock(1 if jit_compile else 2, 3)]))
    images = tf.constant(images_like((2, 4, 4, 3)))

    found = tf.function(curvature, jit_compile=True, autograph=False) if jit_compile else curvature
    with pytest.raises(NotImplementedError, match=r"Second derivatives .* training=False"):
        found(block, images, True)
    expected = curvature(plain_model(block), images, False)
    np.testing.assert_allclose(found(block, images, False), expected, rtol=1e-9, atol=1e-9)


@both_ways
def test_a_tape_that_could_differentiate_twice_differentiates_once(jit_compile):
    block = keras.Sequential([keras.Input((4, 4, 3)), layers.DenseBlock(1 if jit_compile else 2, 3)])
    images = tf.constant(images_like((2, 4, 4, 3), "float32"))

    @tf.function(jit_compile=True) if jit_compile else lambda function: function
    def slope(persistent):
        with tf.GradientTape(persistent=persistent) as tape:
            tape.watch(images)
            loss = tf.reduce_sum(block(images, training=True) ** 3)
            return tape.gradient(loss, images)

    np.testing.assert_allclose(slope(True), slope(False), rtol=1e-5, atol=1e-5)


@both_ways
def test_second_derivatives_of_a_loss_that_is_linear_in_the_features_are_refused_too(jit_compile):
    block = layers.DenseBlock(2, 3)
    images = tf.constant(images_like((2, 4, 4, 3), "float32"))

    @tf.function(jit_compile=True, autograph=False) if jit_compile else lambda function: function
    def curvature():
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(images)
            slope = outer.gradient(tf.reduce_sum(block(images, training=True)), images)
        return outer.gradient(slope, images)

    with pytest.raises(NotImplementedError, match="Second derivatives"):
        curvature()


_TEMPORARY_BYTES = """
import glob, os, re, sys
import keras, numpy as np
from keras_densenet.layers import DenseBlock
folder, bottleneck = sys.argv[1], sys.argv[2] == "True"
sizes = []
for layers in (2, 4, 8):
    block = DenseBlock(layers, 4, bottleneck=bottleneck)
    model = keras.Sequential([keras.Input((8, 8, 8)), block, keras.layers.GlobalAveragePooling2D()])
    model.compile("sgd", "mse", jit_compile=True)
    model.train_on_batch(np.zeros((64, 8, 8, 8), "float32"), np.zeros((64, 8 + layers * 4)))
    found = []
    for report in glob.glob(folder + "/*memory-usage-report.txt"):
        found += re.findall(r"size ([\\d.]+)(KiB|MiB), preallocated-temp", open(report).read())
        os.remove(report)
    sizes.append(max(float(size) * {"KiB": 1, "MiB": 1024}[unit] for size, unit in found))
print(*sizes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("bottleneck", [True, False])
def test_the_compiled_step_needs_memory_that_grows_no_faster_than_depth(tmp_path, monkeypatch, bottleneck):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text", prepend=" ")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # where a program so small is mostly what its kernels work in
    sizes = [float(size) for size in run_fresh(_TEMPORARY_BYTES, tmp_path, bottleneck).split()]
    per_layer = (sizes[1] - sizes[0]) / 2, (sizes[2] - sizes[1]) / 4
    assert per_layer[1] <= per_layer[0] * 1.2


@pytest.mark.slow
def test_fifty_steps_follow_the_plain_composition(float64):
    model = randomise(network())
    oracle = plain_model(model)
    images, labels = images_like((8, *model.input_shape[1:])), np.arange(8) % 5
    losses = []
    for network_ in (model, oracle):
        optimizer = keras.optimizers.SGD(0.02, 0.9, nesterov=True)
        network_.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=False)
        losses.append([float(network_.train_on_batch(images, labels)) for _ in range(50)])
    assert losses[0][-1] < losses[0][0] * 0.7
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@pytest.mark.slow
def test_gradient_accumulation_works(calls):
    model = network()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model.compile(optimizer, "sparse_categorical_crossentropy", jit_compile=True)
    images, kernel = images_like((4, *model.input_shape[1:]), "float32"), model.get_layer("block1").h[0][2]
    before = kernel.numpy()
    model.train_on_batch(images, np.zeros(4))
    np.testing.assert_array_equal(kernel, before)
    assert len(calls) == 2  # one in each block, compiled as it is
    model.train_on_batch(images, np.zeros(4))
    assert np.abs(kernel.numpy() - before).max() > 0
