"""A model's graph, built anew: nested models opened, and every layer an object that no other model has called."""

from typing import Any

import keras

from keras_densenet.compat.keras import compile_arguments, graph_of, run_graph, twin


@keras.saving.register_keras_serializable("keras_densenet")
class Network(keras.Model):
    """A functional `keras.Model` that infers unless it is told to train.

    Keras alone would train: some of its layers, such as `RandomFlip` and `Resizing`, take `training=True` where nobody
    says anything, and hand it on to whatever comes behind them.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **options: Any) -> Any:
        return super().call(inputs, training=bool(training), mask=mask, **options)


keras.saving.get_custom_objects()["Network"] = Network  # as Keras calls it in legacy `.h5` files


def rebuilt(model, kind, replace=twin, front=None, image=None):
    """A model like another, in which none of the layers is a model itself.

    Args:
        model: functional, or sequential and built.
        kind: what makes the result of inputs, outputs and `name=`, such as its class.
        replace: a function from each operation and a name that is free to the operation that takes its place.
        front: a layer to put before the model's one input.
        image: the input of the result, with `front`.

    Returns:
        What `kind` makes, compiled as the given model is, with its labels and decisions.

    Raises:
        ValueError: if the model is neither functional nor sequential and built.
    """
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            "The model must be functional, or sequential and built (see keras.Model.build). "
            f"Received: {getattr(model, 'name', model)!r}"
        )
    inputs = image
    if front is None:
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), graph.input
        )
    names = {tensor.name for tensor in keras.tree.flatten(inputs)} | ({front.name} if front else set())
    replaced = {}

    def opened(operation):
        inner = graph_of(operation)
        if inner is not None:
            return lambda inputs, **options: run_graph(inner, inputs, opened)
        if id(operation) not in replaced:
            name = free_name(operation.name, names)
            names.add(name)
            replaced[id(operation)] = replace(operation, name)
        return replaced[id(operation)]

    outputs = run_graph(graph, inputs if front is None else front(image), opened)
    found = kind(inputs, outputs, name=model.name)
    if model.compiled:  # not from a config, which knows no losses of the user's own
        optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        found.compile(**{**compile_arguments(model), "optimizer": optimizer})
    if hasattr(found, "labels"):
        found.labels, found.decisions = getattr(model, "labels", None), getattr(model, "decisions", None)
    return found


def free_name(name, taken):
    """The name, with a number where it is taken."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
