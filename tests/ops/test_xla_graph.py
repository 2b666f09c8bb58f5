"""What XLA is given to compile: the operations of a training step as TensorFlow has traced it."""

import collections

import pytest
import tensorflow as tf

import keras_densenet as kd
from keras_densenet.ops import Target, compiled_for, slices
from tests.tiny import network

# Of these TensorFlow 2.21 makes XLA's operations by way of MLIR, 12 ms each, where others take a fraction of one.
SLOW = {"Einsum", "Exp", "Relu", "Rsqrt", "Sigmoid", "Sqrt", "XlaDot", "XlaDotV2", "XlaDynamicSlice"}
NETWORKS = {
    "BC, as ImageNet's": {"stem": "imagenet"},
    "BC, deep stem": {"stem": "deep"},
    "plain": {"kind": "plain"},
    "volume": {"input_shape": (8, 7, 6, 2)},
}


@pytest.fixture(params=["CPU", "GPU"])
def operations(request, options):
    return _operations_of_a_step(options, request.param)


def _operations_of_a_step(options, device):
    """The types of all operations in a forward and backward pass, those of loops' bodies too."""
    model = network(**options, blocks=(1, 1), classifier_activation=None)

    @tf.function(jit_compile=True, autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        return tape.gradient(loss, model.trainable_variables)

    return _operations(step, model, device)


def _operations(function, model, device):
    with compiled_for(Target(xla=True, device=device)):
        graph = function.get_concrete_function(tf.TensorSpec((2, *model.input_shape[1:]))).graph.as_graph_def()
    return {node.op for nodes in (graph.node, *(one.node_def for one in graph.library.function)) for node in nodes}


@pytest.mark.slow
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_nothing_in_a_step_is_translated_slowly_and_a_batch_that_is_one_slice_has_no_loop(operations):
    assert "XlaOptimizationBarrier" in operations  # these are XLA's forms
    assert not operations & SLOW
    assert "StatelessWhile" not in operations
    assert "While" not in operations


@pytest.mark.slow
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_a_batch_of_many_slices_is_a_loop_on_a_cpu_alone(options, monkeypatch):
    monkeypatch.setattr(slices, "_NUMBERS", 16)
    assert "StatelessWhile" in _operations_of_a_step(options, "CPU")
    assert "StatelessWhile" not in _operations_of_a_step(options, "GPU")


@pytest.mark.slow
@pytest.mark.parametrize("device", ["CPU", "GPU"])
@pytest.mark.parametrize("stem", ["imagenet", "deep", "cifar"])
def test_nothing_in_a_folded_network_is_translated_slowly(stem, device):
    model = kd.fold(network(stem=stem, classifier_activation=None))
    operations = _operations(tf.function(model, jit_compile=True, autograph=False), model, device)
    assert "Maximum" in operations
    assert not operations & SLOW


@pytest.mark.slow
@pytest.mark.parametrize("dropout_rate", [0.0, 0.2])
def test_what_is_equal_in_all_layers_of_a_block_is_traced_once(dropout_rate):
    block = kd.layers.DenseBlock(4, 5, dropout_rate=dropout_rate)

    @tf.function(jit_compile=True, autograph=False)
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(block(images, training=True))
        return tape.gradient(loss, [v.value for v in block.trainable_variables])

    block.build((2, 5, 4, 3))
    graph = step.get_concrete_function(tf.TensorSpec((2, 5, 4, 3))).graph.as_graph_def()
    calls = collections.Counter(node.attr["f"].func.name for node in graph.node if node.op == "PartitionedCall")
    assert calls.keys() == {function.signature.name for function in graph.library.function}
    # A bottleneck's way to new features and back; the statistics of x_0 and of what is read, and their way back.
    assert sorted(calls.values()) == [1, 1, 3, 3, 4, 4]
