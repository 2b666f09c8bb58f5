"""What Keras has no public name for: a model's graph, and what a layer is made of. Seen in Keras 3.15.1.

The nodes that some of these functions return are calls of an operation, with `operation`, `input_tensors`,
`output_tensors` and `parent_nodes`.
"""

import itertools
from collections.abc import Callable
from typing import Any

import keras


def graph_of(operation: Any) -> Any:
    """The graph of a functional or built sequential model; None of anything else."""
    graph = getattr(operation, "_functional", operation)  # of a Sequential
    return graph if isinstance(graph, keras.Model) and hasattr(graph, "_run_through_graph") else None


def run_graph(graph: Any, inputs: Any, replace: Callable[[Any], Callable[..., Any]]) -> Any:
    """Runs a graph on other inputs, calling in place of each operation what `replace` makes of it."""
    return graph._run_through_graph(inputs, replace)


def nodes_of(graph: keras.Function) -> list[Any]:
    """All nodes of a functional model or a `keras.Function`, the ones nearest to the outputs first."""
    return [*itertools.chain.from_iterable(graph._nodes_by_depth.values())]


def origin(tensor: keras.KerasTensor) -> tuple[Any, list[Any]]:
    """The operation that a symbolic tensor comes from, and the tensors that it was called with."""
    operation, node, _ = tensor._keras_history
    return operation, list(operation._inbound_nodes[node].input_tensors)


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """What `compile` was called with, as it was: `get_compile_config` has it serialised, and not what is the user's."""
    return dict(model._compile_config.config)


def flat_layers(layer: keras.Layer) -> list[keras.Layer]:
    """A layer and all layers in it."""
    return [*layer._flatten_layers()]


def own_variables(layer: keras.Layer) -> list[keras.Variable]:
    """A layer's variables without those of layers in it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def track(layer: keras.Layer, variable: Any, name: str, overwrite: bool = False) -> None:
    """Tells TensorFlow's checkpoints of a variable that Keras does not hand on to it."""
    layer._track_trackable(variable, name, overwrite=overwrite)


def freeze_alone(layer: keras.Layer) -> None:
    """Makes a layer untrainable, but not its variables, which a twin may train."""
    layer._trainable = False


def variable_index(optimizer: keras.Optimizer, variable: keras.Variable) -> int:
    """Which of an optimizer's variables a trainable variable is."""
    return optimizer._get_variable_index(variable)


def twin(operation: Any, name: str | None = None) -> Any:
    """The same operation as another object, which has been called nowhere: its `output` will be of one model alone.

    A layer shares its variables with its twin, and nothing else that can change.
    """
    if isinstance(operation, keras.Model):  # a subclassed one, whose output is nothing to ask for
        return operation
    kind: Any = type(operation)
    new = kind.__new__(kind)
    old, state = vars(operation), vars(new)
    wrappers = {key: state[key] for key in ("build", "quantize") if key in state}  # around its own methods
    state |= {**old, **wrappers, "name": name or operation.name}
    if tracker := state.pop("_tracker", None):
        new._initialize_tracker()
        for store, (_, values) in tracker.config.items():
            for value in values:
                new._tracker.add_to_store(store, value)
        if tracker.locked:
            new._lock_state()
    for key, value in old.items():
        if hasattr(value, "tracker"):  # Keras' lists and dicts
            state[key] = type(value)(value, new._tracker)
        elif type(value) in (list, dict, set) and state[key] is value:
            state[key] = value.copy()
    state |= {"_inbound_nodes": [], "_outbound_nodes": []}
    return new
