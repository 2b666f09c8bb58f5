"""Which layers of a model are the stages of a DenseNet: by their classes and the graph, whatever they are called."""

import collections

import keras

from keras_densenet import layers
from keras_densenet.compat.keras import nodes_of
from keras_densenet.layers.stems import Stem
from keras_densenet.ops import Framing

_KINDS = {
    Stem: "stem",
    layers.StemPool: "stem_pool",
    layers.DenseBlock: "block{}",
    layers.Transition: "transition{}",
    layers.Head: "head",
}


def node_of(model, layer):
    """The layer's call in this model; `layer.output` is of the first model that the layer was part of."""
    return next(node for node in nodes_of(model) if node.operation is layer)


def stage_nodes(model):
    """The calls of a DenseNet's stages in a functional model.

    The network is the last one in the graph: another may stand before its stem, none beside it.

    Args:
        model: a functional `keras.Model`.

    Returns:
        `{name: node}`, from the stem on, with the names of `Architecture.stages`.

    Raises:
        ValueError: if there is no stem or more than one network.
    """
    stages = [layer for layer in model.layers if _kind(layer)]
    chain = [node_of(model, stages[-1])] if stages else []
    while chain and _kind(chain[-1].operation) != "stem" and chain[-1].parent_nodes:
        chain.append(chain[-1].parent_nodes[0])
    if not chain or _kind(chain[-1].operation) != "stem":
        raise ValueError(f"The model must hold a DenseNet from its stem on. Received: {model.name!r}")
    if others := set(stages) - {node.operation for node in chain} - _before(chain[-1]):
        last = [layer for layer in stages if layer in others][-1].name
        raise ValueError(
            f"The model must hold one DenseNet; make one of each with DenseNetModel(model.input, output of its last "
            f"layer). Received: {model.name!r}, with {stages[-1].name!r} of one and {last!r} of another"
        )
    numbers, found = collections.Counter(), {}
    for node in reversed(chain):
        if kind := _kind(node.operation):
            numbers[kind] += 1
            found[kind.format(numbers[kind])] = node
    return found


def framing_of(model: keras.Model, size: tuple[int, ...] | None = None) -> Framing:
    """How an image file becomes the input of a model with a DenseNet in it, wherever that is nested.

    Args:
        model: a Keras model of one image, signal or volume.
        size: `(height, width)` to give images to a model that takes any. Default: their own.

    Examples:
        >>> kd.models.framing_of(model).size
        (16, 16)
    """
    *own, channels = model.input_shape[1:]
    size = size if None in own else tuple(own)
    return Framing(size, channels, **next(_framings(model), {}), dimensions=len(own))


def _framings(model):
    for layer in model.layers:
        if isinstance(layer, Stem):
            yield layer.framing
        elif isinstance(layer, keras.Model):
            yield from _framings(layer)


def _kind(operation):
    return next((kind for of_kind, kind in _KINDS.items() if isinstance(operation, of_kind)), None)


def _before(node):
    front, found = list(node.parent_nodes), []
    while front:
        found.append(front.pop())
        front.extend(parent for parent in found[-1].parent_nodes if parent not in found and parent not in front)
    return {node.operation for node in found}
