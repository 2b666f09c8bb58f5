"""The DenseNet inside a model, wherever it stands."""

import keras

from keras_densenet import layers
from keras_densenet.models import DenseNetModel

STAGES = (layers.ImageNetStem, layers.CifarStem, layers.StemPool, layers.DenseBlock, layers.Transition, layers.Head)
FOLDED = (layers.FoldedImageNetStem, layers.FoldedDenseBlock, layers.FoldedTransition, layers.FoldedHead)


def flat(model: keras.Model) -> DenseNetModel:
    """A model of the same layers in which none is a model itself, so that all tensors between them can be asked for.

    Args:
        model: a functional or sequential `keras.Model` with a DenseNet of this package, whatever stands around it.

    Returns:
        A `DenseNetModel` that shares the layers.

    Raises:
        ValueError: if there is no dense block, or the model is neither functional nor sequential.
    """
    found = functional = _functional(model)
    if functional is not None and any(_functional(layer) for layer in functional.layers):
        found = DenseNetModel(functional.inputs, functional._run_through_graph(functional.inputs, _opened))
    elif functional is not None and not isinstance(model, DenseNetModel):
        found = DenseNetModel(functional.inputs, functional.output)
    if found is None or not stages(found, layers.DenseBlock):
        raise ValueError(
            "The model must be functional or sequential, with a dense block of keras_densenet in it. "
            f"Received: {getattr(model, 'name', model)!r}"
        )
    return found


def stages(model, kind=STAGES):
    """The layers of a flat model that are rows of the paper's table 1, in order."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def _functional(layer):
    """The graph of a functional or sequential model; None of a plain layer."""
    graph = getattr(layer, "_functional", layer)  # of a Sequential
    return graph if isinstance(graph, keras.Model) and hasattr(graph, "_run_through_graph") else None


def _opened(operation):
    graph = _functional(operation)
    if graph is None:
        return operation
    return lambda inputs, **options: graph._run_through_graph(inputs, _opened)
