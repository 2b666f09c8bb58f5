"""The DenseNet inside a model, wherever it stands."""

import keras

from keras_densenet import layers
from keras_densenet.compat.keras import graph_of, origin, twin
from keras_densenet.layers.stems import Stem
from keras_densenet.models.graph import Network, free_name, rebuilt
from keras_densenet.models.model import DenseNetModel

STAGES = (Stem, layers.StemPool, layers.DenseBlock, layers.Transition, layers.Head)


def flat(model: keras.Model) -> DenseNetModel:
    """A model like another in which no layer is a model itself, so that all tensors between them can be asked for.

    Args:
        model: a functional, or sequential and built `keras.Model` with a DenseNet of this package, whatever stands
            around it.

    Returns:
        A `DenseNetModel`; its layers are other objects that share their weights with the model's.

    Raises:
        ValueError: if there is no dense block, or the model is neither functional nor sequential and built.

    Examples:
        >>> nested = keras.Sequential([keras.layers.Rescaling(1 / 255), model])
        >>> nested(images).shape
        TensorShape([4, 3])
        >>> [layer.name for layer in kd.explain.flat(nested).layers][:3]
        [...'rescaling', 'stem']
    """
    found = opened(model)
    if not isinstance(found, DenseNetModel):
        raise ValueError(
            "The model must be functional or sequential, with a dense block of keras_densenet in it. "
            f"Received: {model.name!r}"
        )
    return found


def opened(model):
    """`flat`, also of a model without a DenseNet, which becomes a `Network`."""
    return rebuilt(model, _network)


def known_preprocessing(model, size=None):
    """The model behind the preprocessing that its network's weights are known to need, unless there is some already.

    Args:
        model: any `keras.Model`; one of which nothing is known is returned as it is.
        size: that images are resized to where the network takes any. Default: none; otherwise it is the network's.
    """
    network = opened(model) if graph_of(model) is not None else model
    if not isinstance(network, DenseNetModel) or network.is_preprocessed or network.preprocessing is None:
        return model
    own = network.input_shape[1:-1]
    if len(own) != 2:  # nothing resizes signals and volumes
        return network.with_preprocessing()
    return network.with_preprocessing(size=size if None in own else own)


def takes_pixels(model):
    """Whether a model is known to take pixels in 0..255: something in front of its network changes their values."""
    network = opened(model) if graph_of(model) is not None else model
    return not isinstance(network, DenseNetModel) or network.is_preprocessed


def stages(model, kind=STAGES):
    """The layers of a flat model that are rows of the paper's table 1, in order."""
    return [layer for layer in model.layers if isinstance(layer, kind)]


def ending(network):
    """What a flat network with one output ends in.

    Returns:
        `(scores, activation)`: the tensor before a last softmax or sigmoid, or another activation of the last `Dense`,
        and the function from it to the output; the output and None where there is none.
    """
    return _ending(network.outputs[0])


def logits_of(network):
    """What `ending` finds, and whether it is "softmax" or "sigmoid"; ValueError for a network that ends in neither."""
    scores, activation = ending(network)
    kind = None if activation is None else activation_name(activation)
    if kind not in ("softmax", "sigmoid"):
        raise ValueError(f"The model must end in softmax or sigmoid. Received: {network.name!r}, which ends in {kind}")
    return scores, activation, kind


def activation_name(activation):
    """The name of what `ending` found: a function, a layer or an operation."""
    activation = getattr(activation, "activation", activation)
    return getattr(activation, "__name__", type(activation).__name__).lower()


def activated(model, activation, required=False):
    """A flat model with an activation, "softmax" or "sigmoid", behind its logits, if it ends in them and one is given.

    Where one is required, the logit of one class gets "sigmoid", and those of several are refused without one.
    """
    if activation not in (None, "softmax", "sigmoid"):
        raise ValueError(f"activation must be softmax or sigmoid. Received: activation={activation!r}")
    own = ending(model)[1]
    if own is not None and activation not in (None, activation_name(own)):
        raise ValueError(
            f"activation is for models that end in logits. Received: activation={activation!r} and {model.name!r}, "
            f"which ends in {activation_name(own)}"
        )
    if own is not None or (activation is None and not required):
        return model
    classes = model.output_shape[-1]
    if activation is None and classes > 1:
        raise ValueError(
            f"{model.name!r} ends in logits of {classes} classes: say what they become, activation "
            "softmax (an image has one class) or sigmoid (an image has any of the classes)"
        )
    name = free_name("activation", {operation.name for operation in model.operations})
    probabilities = keras.layers.Activation(activation or "sigmoid", dtype=model.output.dtype, name=name)
    return _ending_in(model, probabilities(model.output), getattr(model, "decisions", None))


def many_labels(model):
    """Whether each of a model's labels has a probability of its own, and an image may have any of them: a sigmoid."""
    activation = ending(opened(model))[1] if graph_of(model) is not None else None
    return activation is not None and activation_name(activation) == "sigmoid"


def with_temperature(model):
    """The model whose probabilities are those after the temperature of its `decisions`: itself where there is none.

    The logits before them are divided by the temperature; the thresholds are its `decisions` still.
    """
    decisions = getattr(model, "decisions", None)
    if decisions is None or decisions.temperature == 1:
        return model
    network = opened(model)
    scores, activation = ending(network)
    if activation is None:
        raise ValueError(f"A temperature is for networks that end in softmax or sigmoid. Received: {model.name!r}")
    return _ending_in(network, activation(scores / decisions.temperature), decisions._replace(temperature=1.0))


def _ending_in(network, output, decisions):
    """A flat network with another output, its labels and these decisions."""
    found = type(network)(network.input, output, name=network.name)
    if isinstance(found, DenseNetModel):
        found.labels, found.decisions = network.labels, decisions
    return found


def _network(inputs, outputs, name):
    found = Network(inputs, outputs, name=name)
    return DenseNetModel(inputs, outputs, name=name) if stages(found, layers.DenseBlock) else found


def _ending(output):
    last, (before, *more) = origin(output)
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Dense) and activation is not keras.activations.linear:
        bare = twin(last)
        bare.activation = keras.activations.linear
        return bare(before), activation
    if isinstance(last, keras.layers.Activation) and activation is keras.activations.linear:
        return _ending(before)
    is_activation = isinstance(last, keras.layers.Activation) or type(last).__name__ in ("Softmax", "Sigmoid")
    return (before, last) if is_activation and not more else (output, None)
