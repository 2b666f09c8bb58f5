"""The inference form of a DenseNet: the same outputs from fewer operations."""

import keras
import numpy as np

from keras_densenet import layers


def fold(model: keras.Model) -> keras.Model:
    """Makes the inference form of a DenseNet.

    The normalisation behind the ImageNet stem's and every 1x1 convolution goes into kernel and bias; every reader's
    becomes one scale and shift.

    Args:
        model: a functional `keras.Model` with DenseNet layers of this package, whatever stands before and behind them.

    Returns:
        A model of the same class with the same outputs (to rounding), all of whose DenseNet weights are constants. It
        saves, loads and exports; it does not train.

    Raises:
        ValueError: if there is nothing to fold.
    """
    pairs = []

    def clone(layer):
        new = _FOLDED.get(type(layer), type(layer)).from_config(layer.get_config())
        new.trainable = new.trainable and not type(layer).__module__.startswith(layers.__name__)
        pairs.append((layer, new))
        return new

    folded = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if not any(type(layer) in _FOLDED for layer, _ in pairs):
        raise ValueError(f"fold takes a model with DenseNet layers that are not folded yet. Received: {model.name!r}")
    for layer, new in pairs:
        new.set_weights(_WEIGHTS.get(type(layer), keras.Layer.get_weights)(layer))
    return folded


_FOLDED = {
    layers.ImageNetStem: layers.FoldedImageNetStem,
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
    scale, shift = _norm(layer)
    return [layer.kernel.numpy() * scale, shift]


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
    layers.DenseBlock: _block,
    layers.Transition: lambda layer: [*_norm(layer), layer.kernel.numpy()],
    layers.Head: lambda layer: [*_norm(layer)],
}
