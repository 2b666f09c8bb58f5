"""Cost in closed form: against the published counts, against built networks, and against sums done by hand."""

import json
import math
import os
import re
import statistics
import subprocess
import sys
import timeit

import pytest

import keras_densenet as kd
from keras_densenet.layers import DenseBlock, ImageNetStem
from tests.tiny import KINDS, ROWS, STEMS, arguments, network

every_row = pytest.mark.parametrize(("name", "row"), ROWS.items(), ids=ROWS)


def arguments_of(row, **others):
    size = {"blocks": row["blocks"]} if "blocks" in row else {"depth": row["depth"]}
    same = {key: row[key] for key in ("growth_rate", "bottleneck", "theta", "classes")}
    same |= {key: row[key] for key in ("stem", "stem_pool") if key in row}
    return {**size, **same, "input_shape": tuple(row["input"]), **others}


@pytest.mark.slow
@every_row
def test_published_counts_follow_from_the_arguments(name, row):
    cost = kd.cost(arguments_of(row))
    assert (cost.trainable_parameters, cost.macs) == (row["trainable"], row["macs"])
    headless = kd.cost(arguments_of(row, include_top=False))
    assert headless.trainable_parameters == row["trainable_no_top"]
    assert cost.macs - headless.macs == row["features"] * row["classes"]


@every_row
def test_published_counts_follow_from_the_name(name, row):
    name, *_ = name.split()
    if row["classes"] == 100:
        assert kd.cost(name).trainable_parameters == row["trainable_no_top"] + 10 * (row["features"] + 1)
    else:
        assert (kd.cost(name).trainable_parameters, kd.cost(name).macs) == (row["trainable"], row["macs"])


@every_row
def test_published_channels_follow_from_the_arguments(name, row):
    stages = [stage.stage for stage in kd.cost(arguments_of(row)).stages]
    assert [stage.out_channels for stage in stages if stage.kind == "block"] == row["block_channels"]
    assert [stage.out_channels for stage in stages if stage.kind == "stem"] == [row["stem_channels"]]


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_name_arguments_architecture_and_built_model_cost_the_same(kind, stem):
    options, model = arguments(kind, stem), network(kind, stem)
    of_model = kd.cost(model)
    assert of_model == kd.cost(options) == kd.cost(model.architecture)
    assert of_model.trainable_parameters == sum(math.prod(variable.shape) for variable in model.trainable_variables)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_activation_bytes_in_training_are_the_features_bottlenecks_and_stem_of_the_built_model(kind, stem):
    model = network(kind, stem)
    values = math.prod(model.input_shape[1:])
    for layer in model.layers:
        shape = layer.output.shape[1:]
        if isinstance(layer, ImageNetStem):
            kernels = [variable.shape for variable in layer.weights if variable.name.endswith("kernel")]
            values += math.prod(shape[:2]) * sum(filters for *_, filters in kernels)
            values += math.prod(shape[:2]) * sum(channels for *_, channels, _ in kernels[1:])
        if isinstance(layer, DenseBlock):
            bottlenecks = layer.num_layers * 4 * layer.growth_rate * layer.bottleneck
            values += math.prod(shape) + math.prod(shape[:2]) * bottlenecks
    cost = kd.cost(model)
    assert cost.activation_bytes(1, training=True) == 4 * values
    assert cost.activation_bytes(3, training=True, dtype="float16") == 6 * values
    assert cost.activation_bytes(3, training=True, dtype="float64") == 24 * values


class TestByHand:
    """A plain network on 4x4 pixels: a stem of 4 channels, a layer of k=2, a transition from 6 to 3, a layer."""

    options = arguments("C", blocks=(1, 1), growth_rate=2, stem_channels=4, input_shape=(4, 4, 3))

    def test_parameters(self):
        stem, layer1, transition = 9 * 3 * 4, 2 * 4 + 9 * 4 * 2, 2 * 6 + 6 * 3
        layer2, head, classifier = 2 * 3 + 9 * 3 * 2, 2 * 5, 5 * 5 + 5
        expected = [stem, layer1, transition, layer2, head, classifier]
        assert [stage.trainable_parameters for stage in kd.cost(self.options).stages] == expected

    def test_macs_of_the_published_and_of_the_executed_order(self):
        others = 16 * 9 * 3 * 4 + 16 * 9 * 4 * 2 + 4 * 9 * 3 * 2 + 5 * 5
        assert kd.cost(self.options).macs == others + 16 * 6 * 3
        assert kd.cost(self.options).macs_executed == others + 4 * 6 * 3

    def test_dropout_keeps_the_published_order(self):
        cost = kd.cost({**self.options, "dropout_rate": 0.2})
        assert cost.macs_executed == cost.macs == kd.cost(self.options).macs

    def test_inference_holds_the_widest_stage(self):
        stem, transition = 16 * 3 + 16 * 4, 16 * 6 + 4 * (6 + 3)
        assert transition > stem
        assert kd.cost(self.options).activation_bytes(2, training=False) == 2 * 4 * transition

    def test_deep_stem_and_blurred_pool(self):
        deep = {**self.options, "stem": "deep", "stem_pool": "blur", "input_shape": (8, 8, 3)}
        stem, pool, *_ = kd.cost(deep).stages
        kernels = 9 * (3 * 2 + 2 * 2 + 2 * 4)
        assert (stem.trainable_parameters, stem.macs) == (kernels + 2 * (2 + 2 + 4), 16 * kernels)
        assert (stem.kept, stem.live) == (16 * (2 + 2 + 2 + 2 + 4), 64 * 3 + 16 * (2 + 2 + 4))
        assert (pool.trainable_parameters, pool.macs, pool.kept, pool.live) == (0, 0, 0, (16 + 16 + 4) * 4)

    def test_odd_images_lose_their_last_row_in_the_transition(self):
        cost = kd.cost(self.options, input_shape=(5, 4, 3))
        assert cost.macs == 20 * 9 * 3 * 4 + 20 * 9 * 4 * 2 + 20 * 6 * 3 + 4 * 9 * 3 * 2 + 5 * 5


@pytest.mark.parametrize("name", kd.list_models())
def test_executed_graph_does_less(name):
    cost = kd.cost(name)
    assert 0.7 * cost.macs < cost.macs_executed < cost.macs


def test_another_image_size_and_channel_count_change_what_depends_on_them():
    cost, gray = kd.cost("densenet121"), kd.cost("densenet121", input_shape=(448, 448, 1))
    assert cost.trainable_parameters - gray.trainable_parameters == 2 * 49 * 64
    head = 1024 * 1000
    assert gray.macs - head == 4 * (cost.macs - head) - 2 * 49 * 64 * 224 * 224


def test_costs_less_than_a_millisecond():
    seconds = timeit.repeat(lambda: kd.cost("densenet264"), number=1, repeat=21)
    assert statistics.median(seconds) < 1e-3


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("macs", lambda cost: cost.macs),
        ("macs_executed", lambda cost: cost.macs_executed),
        ("activation_bytes", lambda cost: cost.activation_bytes(1, training=True)),
        ("activation_bytes", lambda cost: cost.activation_bytes(1, training=False)),
    ],
)
def test_unknown_image_size_counts_parameters_and_asks_for_the_size_of_all_else(name, figure):
    cost = kd.cost("densenet121", input_shape=(None, None, 3))
    assert cost.trainable_parameters == ROWS["densenet121"]["trainable"]
    with pytest.raises(ValueError, match=rf"^{name} depends on the image size, which is unknown: give .*input_shape="):
        figure(cost)


def test_model_of_unknown_image_size_is_counted_for_a_given_one():
    model = network(input_shape=(None, None, 3))
    assert kd.cost(model, input_shape=(9, 8, 3)) == kd.cost(arguments())


def test_arguments_of_densenet_that_do_not_matter_are_taken_too():
    plain = arguments(include_top=False)
    assert kd.cost({**plain, "weights": None, "pooling": "avg", "name": "mine"}) == kd.cost(plain)
    assert kd.cost(arguments(classifier_activation=None, input_tensor=None)) == kd.cost(arguments())


def test_what_is_no_argument_of_densenet_is_refused_by_name():
    with pytest.raises((TypeError, ValueError), match=r"width_multiplier"):
        kd.cost({"width_multiplier": 2})


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_wrong_batch_size_is_refused(batch_size):
    with pytest.raises(ValueError, match=rf"^batch_size must be .*Received: batch_size={batch_size}$"):
        kd.cost("densenet121").activation_bytes(batch_size, training=True)


@pytest.mark.parametrize("other", [None, 3, object(), ["densenet121"]])
def test_what_is_no_network_is_refused_with_its_type(other):
    with pytest.raises(TypeError, match=rf"^cost takes a name, .*type {type(other).__name__}$"):
        kd.cost(other)


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"Received: 'densenet-bc-100-13'\. Did you mean densenet-bc-100-12"):
        kd.cost("densenet-bc-100-13")


def test_wrong_argument_and_dtype_are_refused():
    with pytest.raises(ValueError, match=r"^theta must be in \(0, 1\]\. Received: theta=2$"):
        kd.cost(arguments(theta=2))
    with pytest.raises(ValueError, match=r"^dtype must be one of .*float32.* Received: dtype='int8'$"):
        kd.cost("densenet121").activation_bytes(1, training=True, dtype="int8")


COMPILED = """
import json, sys
import numpy as np
import keras_densenet as kd
for options, batch in json.loads(sys.argv[1]):
    model = kd.DenseNet(**options)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    model.train_on_batch(np.zeros((batch, *model.input_shape[1:]), "float32"), np.zeros(batch, "int32"))
"""


@pytest.mark.slow
@pytest.mark.timeout(250)
def test_a_compiled_training_step_needs_what_the_closed_form_says():
    """By what XLA tells of its buffers, without those of weights and gradients."""
    deep = arguments("BC", blocks=(6, 6), growth_rate=12, input_shape=(32, 32, 3))
    large = arguments("BC", "imagenet", blocks=(2, 4), growth_rate=16, input_shape=(96, 64, 3))
    cases = [(deep, 16), (large, 32)]
    told = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "buffer_assignment=1"}
    command = [sys.executable, "-c", COMPILED, json.dumps(cases)]
    done = subprocess.run(command, env={**os.environ, **told}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    buffers = [int(size) for size in re.findall(r"Combined temp allocation .* size (\d+), preallocated", done.stderr)]
    largest = sorted(buffers)[-2:]
    expected = sorted(kd.cost(options).training_bytes(batch, copies=1) for options, batch in cases)
    assert all(0.7 < form / size < 1.1 for form, size in zip(expected, largest, strict=True)), (expected, largest)
