"""What is private in other people's packages: all of it is in `compat`, and it is where it was seen."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import threading

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from keras_tuner.engine import trial

import keras_densenet
from keras_densenet import search
from keras_densenet.compat import keras as of_keras
from keras_densenet.compat import keras_tuner as of_keras_tuner
from keras_densenet.compat import tensorflow as of_tensorflow

ROOT = pathlib.Path(keras_densenet.__file__).parent
PRIVATE = ("tensorflow.python", "tensorflow.compiler", "tensorflow.core", "keras.src", "keras_tuner.src")
PUBLIC = {"_asdict", "_fields", "_make", "_replace"}  # of named tuples
PUBLIC |= {"_generate_examples", "_info", "_split_generators"}  # of builders of TensorFlow Datasets
FILES = [file for file in ROOT.rglob("*.py") if "compat" not in file.parts]
TREES = {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in FILES}


def _is_private(name):
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC


def _own_names():
    """What the package itself defines with an underscore: functions, attributes, names."""
    for node in (node for tree in TREES.values() for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


OWN = set(_own_names())
HOOKS = {name for names in of_keras_tuner.HOOKS.values() for name in names}


@pytest.mark.parametrize("file", TREES)
def test_outside_of_compat_nothing_private_is_imported_or_named(file):
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in modules if f"{name}.".startswith(tuple(f"{module}." for module in PRIVATE))]
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            of_self = isinstance(node.value, ast.Call | ast.Name) and ast.unparse(node.value) in ("self", "super()")
            assert node.attr in OWN | (HOOKS if of_self else set()), f"{ast.unparse(node)} in line {node.lineno}"


def _classes():
    for module in pkgutil.walk_packages([str(ROOT)], "keras_densenet."):
        if not module.name.endswith(("__main__", "run_saved_model", "torch_files")):
            found = importlib.import_module(module.name)
            yield from (c for _, c in inspect.getmembers(found, inspect.isclass) if c.__module__ == module.name)


def test_no_class_overrides_what_is_private_in_its_parents_but_the_hooks_that_are_listed():
    for kind in set(_classes()):
        ours = [parent for parent in kind.__mro__ if parent.__module__.startswith("keras_densenet")]
        theirs = [
            parent for parent in kind.__mro__ if parent not in ours and parent.__module__ not in ("builtins", "typing")
        ]
        names = {name for parent in ours for name in vars(parent) if _is_private(name) and not name.startswith("_abc")}
        assert {name for name in names for parent in theirs if name in vars(parent)} <= HOOKS, kind


def test_kerastuner_has_the_hooks():
    space = search.DenseNetHyperModel((8, 8, 1), 2, blocks="1 1", growth_rate=(2, 8))
    oracle = search.BayesianOptimization(space, search.Budget())
    for kind, names in of_keras_tuner.HOOKS.items():
        for name in names:
            assert hasattr(kind, name) or (isinstance(oracle, kind) and hasattr(oracle, name)), name


def test_kerastuners_lock_is_held_by_whom_it_says():
    oracle = keras_tuner.oracles.RandomSearchOracle(keras_tuner.Objective("val_loss", "min"), 1)
    seen = []

    class Watched(type(oracle)):
        def populate_space(self, trial_id):
            seen.append((of_keras_tuner.holder_of(self), of_keras_tuner.lock_of(self).locked()))
            return {"status": trial.TrialStatus.STOPPED}

    oracle.__class__ = Watched
    oracle.create_trial("a")
    assert seen == [(threading.current_thread().name, True)]
    assert (of_keras_tuner.holder_of(oracle), of_keras_tuner.lock_of(oracle).locked()) == (None, False)
    of_keras_tuner.set_holder(oracle, "another")
    assert of_keras_tuner.holder_of(oracle) == "another"


def test_what_a_trial_reported_can_be_taken_back():
    made = trial.Trial(keras_tuner.HyperParameters())
    made.metrics.register("val_loss", "min")
    for value in (4.0, 2.0):
        of_keras_tuner.forget_observation(made, "val_loss", 0)
        made.metrics.update("val_loss", value, step=0)
    assert made.metrics.get_best_value("val_loss") == 2.0


def test_kerastuner_has_its_service_displays_and_files(tmp_path, monkeypatch):
    assert {"CreateTrial", "EndTrial", "GetTrial", "UpdateTrial"} <= vars(of_keras_tuner.OracleServicer).keys()
    assert of_keras_tuner.messages().GetTrialRequest(trial_id="a").trial_id == "a"
    assert {"OracleStub", "add_OracleServicer_to_server"} <= vars(of_keras_tuner.service()).keys()
    oracle = keras_tuner.oracles.RandomSearchOracle(keras_tuner.Objective("val_loss", "min"), 1)
    oracle._set_project_dir(str(tmp_path), "a")
    assert pathlib.Path(of_keras_tuner.state_file(oracle)) == tmp_path / "a" / "oracle.json"
    of_keras_tuner.show_on(oracle, display := of_keras_tuner.Display(oracle))
    assert oracle.get_state()["display"] == display.get_state()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "1")
    for name, role in {"chief": "chief", "worker1": "worker"}.items():
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        assert of_keras_tuner.role() == role
    monkeypatch.delenv("KERASTUNER_ORACLE_IP")
    assert of_keras_tuner.role() == "single"


def test_xlas_operations_do_what_their_names_say():
    seen = []

    @tf.function(jit_compile=True)
    def run(x):
        seen.append(of_tensorflow.is_compiling())
        (x,) = of_tensorflow.optimization_barrier([x])
        return of_tensorflow.dynamic_update_slice(x, tf.ones((1, 1)), [1, 2])

    assert run(tf.zeros((2, 3))).numpy().tolist() == [[0, 0, 0], [0, 0, 1]]
    assert seen == [True]
    assert not of_tensorflow.is_compiling()
    dimensions = {"input_batch_dimension": 0, "input_spatial_dimensions": [1], "input_feature_dimension": 2}
    dimensions |= {"kernel_spatial_dimensions": [0], "kernel_input_feature_dimension": 1}
    dimensions |= {"kernel_output_feature_dimension": 2, "output_batch_dimension": 0}
    dimensions |= {"output_spatial_dimensions": [1], "output_feature_dimension": 2}
    convolve = tf.function(lambda x, k: of_tensorflow.convolution(x, k, [[1, 0]], dimensions), jit_compile=True)
    found = convolve(tf.constant([[[1.0], [2.0]]]), tf.constant([[[1.0]], [[10.0]]]))
    assert found.numpy().ravel().tolist() == [10, 21]
    assert of_tensorflow.c_library() is None or of_tensorflow.c_library().is_file()


def test_traced_gradients_are_registered_until_they_are_forgotten():
    before = of_tensorflow.custom_gradients()
    double = tf.custom_gradient(lambda x: (2 * x, lambda upstream: 2 * upstream))
    tf.function(double)(tf.constant(1.0))
    found = of_tensorflow.custom_gradients() - before
    assert len(found) == 1
    of_tensorflow.forget_gradients(found)
    assert of_tensorflow.custom_gradients() == before


@pytest.fixture
def model():
    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inner")])
    model = keras.Model(inputs, keras.layers.Dense(1, name="last")(inner(inputs)))
    model.compile("sgd", loss := keras.losses.MeanSquaredError())
    return model, inner, loss


def test_keras_graphs_are_nodes_that_run_anew(model):
    model, inner, loss = model
    last = model.get_layer("last")
    assert of_keras.graph_of(model) is model
    assert [layer.name for layer in of_keras.graph_of(inner).layers if layer.weights] == ["inner"]
    assert of_keras.graph_of(last) is None
    nodes = {node.operation.name: node for node in of_keras.nodes_of(model)}
    assert of_keras.origin(model.output)[0] is last
    assert of_keras.origin(model.output)[1][0] is nodes[inner.name].output_tensors[0]
    assert nodes["last"].input_tensors[0] is nodes[inner.name].output_tensors[0]
    assert [node.operation for node in nodes["last"].parent_nodes] == [inner]
    x, called = np.ones((2, 3), "float32"), []
    found = of_keras.run_graph(model, x, lambda operation: called.append(operation) or operation)
    np.testing.assert_allclose(found, model(x))
    assert called == [inner, last]
    assert of_keras.compile_arguments(model)["loss"] is loss
    assert {layer.name for layer in of_keras.flat_layers(model)} >= {"inner", "last"}


def test_keras_layers_have_variables_and_twins(model):
    model, _, _ = model
    last = model.get_layer("last")
    twin = of_keras.twin(last, "twin")
    assert (twin.name, last.name) == ("twin", "last")
    assert twin.kernel is last.kernel
    assert of_keras.own_variables(twin) == [last.kernel, last.bias]
    assert of_keras.own_variables(model) == []
    twin.activation = keras.activations.relu
    assert last.activation is keras.activations.linear
    assert not hasattr(twin, "output")
    of_keras.freeze_alone(twin)
    assert (twin.trainable_variables, last.trainable_variables) == ([], [last.kernel, last.bias])
    model.optimizer.build(model.trainable_variables)
    index = of_keras.variable_index(model.optimizer, last.bias)
    assert model.trainable_variables[index] is last.bias
    other = tf.Variable(1.0)
    of_keras.track(last, other, "other")
    assert last._trackable_children()["other"] is other


def test_the_memory_of_each_device_is_known():
    assert [limit > 2**20 for limit in of_tensorflow.memory_limits("CPU")] == [True]
    assert of_tensorflow.memory_limits("GPU") == [] or min(of_tensorflow.memory_limits("GPU")) > 2**20


def test_a_tape_records_nothing_where_it_is_stopped():
    x = tf.constant(3.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        with of_tensorflow.stop_recording():
            hidden = x * x
        seen = x * x
    assert tape.gradient(hidden, x) is None
    assert tape.gradient(seen, x) == 6


def test_functions_are_numbered_from_a_round_number():
    for _ in range(2):
        of_tensorflow.number_from_afresh()
        assert of_tensorflow.ops.uid() % 2**18 == 1
