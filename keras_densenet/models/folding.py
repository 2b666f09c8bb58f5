"""The inference form of a DenseNet: the same outputs from fewer operations."""

import keras
import numpy as np

from keras_densenet import layers
from keras_densenet.compat.keras import flat_layers, twin
from keras_densenet.models.graph import rebuilt
from keras_densenet.models.model import DenseNetModel


def fold(model: keras.Model) -> DenseNetModel:
    """Makes the inference form of a DenseNet.

    The normalisation behind an ImageNet stem's and every 1x1 convolution goes into kernel and bias; every reader's
    becomes one scale and shift.

    Args:
        model: a functional, or sequential and built `keras.Model` with DenseNet layers of this package, whatever stands
            before, behind and around them.

    Returns:
        A `DenseNetModel` with the same outputs as in inference (to rounding), all of whose DenseNet weights are
        constants; models inside the model are opened. It saves, loads and exports; it does not train.

    Raises:
        ValueError: if there is nothing to fold, or the model is neither functional nor sequential and built.

    Examples:
        >>> folded = kd.fold(model)
        >>> bool(np.allclose(folded(images / 255), model(images / 255), atol=1e-5))
        True
    """
    pairs = []

    def fold_layer(layer, name):
        if not isinstance(layer, keras.Layer):
            return twin(layer, name)
        new = _FOLDED.get(type(layer), type(layer)).from_config({**layer.get_config(), "name": name})
        new.trainable = new.trainable and not type(layer).__module__.startswith(layers.__name__)
        pairs.append((layer, new))
        return new

    folded = rebuilt(model, DenseNetModel, fold_layer)
    if not any(type(layer) in _FOLDED for layer, _ in pairs):
        raise ValueError(f"fold takes a model with DenseNet layers that are not folded yet. Received: {model.name!r}")
    for layer, new in pairs:
        if type(layer) in _WEIGHTS:
            new.set_weights(_WEIGHTS[type(layer)](layer))
        else:
            _copy_weights(layer, new)
    return folded


def _copy_weights(layer, new):
    """As saving and loading does, after which some layers have work of their own to do, such as `Normalization`."""
    for old, copy in zip(flat_layers(layer), flat_layers(new), strict=True):
        store = {}
        old.save_own_variables(store)
        copy.load_own_variables(store)


_FOLDED = {
    layers.ImageNetStem: layers.FoldedImageNetStem,
    layers.DeepStem: layers.FoldedDeepStem,
    layers.DenseBlock: layers.FoldedDenseBlock,
    layers.Transition: layers.FoldedTransition,
    layers.Head: layers.FoldedHead,
}


def _affine(gamma, beta, mean, variance, epsilon):
    gamma, beta, mean, variance = (np.asarray(v.numpy(), "float64") for v in (gamma, beta, mean, variance))
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


def _norm(layer):
    return _affine(*layer.norm, layer.epsilon)


def _stem(layer):
    found = []
    for kernel, norm in layer.h:
        scale, shift = _affine(*norm, layer.epsilon)
        found += [kernel.numpy() * scale, shift]
    return found


def _block(block):
    found = []
    for index, (gamma, beta, kernel1, *rest) in enumerate(block.h):
        mean, variance = (s[: gamma.shape[0]] for s in block.feature_statistics)
        found += _affine(gamma, beta, mean, variance, block.epsilon)
        if not rest:
            found.append(kernel1.numpy())
            continue
        gamma2, beta2, kernel2 = rest
        scale, shift = _affine(gamma2, beta2, *block.bottleneck_statistics[index], block.epsilon)
        found += [kernel1.numpy() * scale, shift, kernel2.numpy()]
    return found


_WEIGHTS = {
    layers.ImageNetStem: _stem,
    layers.DeepStem: _stem,
    layers.DenseBlock: _block,
    layers.Transition: lambda layer: [*_norm(layer), layer.kernel.numpy()],
    layers.Head: lambda layer: [*_norm(layer)],
}
