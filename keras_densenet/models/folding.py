"""The inference form of a DenseNet: the same outputs from fewer operations."""

import keras
import numpy as np

from keras_densenet import layers
from keras_densenet.compat.keras import flat_layers, twin
from keras_densenet.layers.policy import own_policy
from keras_densenet.models.flat import STAGES, stages
from keras_densenet.models.graph import rebuilt
from keras_densenet.models.model import DenseNetModel
from keras_densenet.types import DType


def fold(model: keras.Model, dtype: DType = None) -> DenseNetModel:
    """Makes the inference form of a DenseNet.

    The normalisation behind an ImageNet stem's and every 1x1 convolution goes into kernel and bias; every reader's
    becomes one scale and shift.

    Args:
        model: a functional, or sequential and built `keras.Model` with DenseNet layers of this package, whatever stands
            before, behind and around them.
        dtype: what the network's layers compute in and hold their kernels in, such as "bfloat16"; kernels are rounded
            once, with the normalisation in them. Default: their own.

    Returns:
        A `DenseNetModel` with the same outputs as in inference (to rounding), all of whose DenseNet weights are
        constants; models inside the model are opened. It saves, loads and exports; it does not train.

    Raises:
        ValueError: if there is nothing to fold, a `Dense` layer is quantised, or the model is neither functional nor
            sequential and built.

    Examples:
        >>> folded = kd.fold(model)
        >>> bool(np.allclose(folded(images / 255), model(images / 255), atol=1e-5))
        True
    """
    return _copied(model, dtype, _FOLDED)


def in_float32(model):
    """A flat model itself or, where layers of its network compute in 16 bits, one like it that computes in float32."""
    narrow = any(layer.compute_dtype in ("float16", "bfloat16") for layer in stages(model))
    return _copied(model, "float32", {}) if narrow else model


def _copied(model, dtype, kinds):
    """A model with layers of other kinds, and of another dtype where one is given, in the place of a network's."""
    pairs = []

    def copy(layer, name):
        if not isinstance(layer, keras.Layer):
            return twin(layer, name)
        if layer.quantization_mode == "float8":
            raise ValueError(
                f"Layer {layer.name!r} is quantised to float8, whose scales cannot be copied: fold the model first"
            )
        config = {**layer.get_config(), "name": name}
        if isinstance(layer, STAGES):
            config["dtype"] = dtype or own_policy(layer)  # a map's goes by the name
        new = kinds.get(type(layer), type(layer)).from_config(config)
        new.trainable = new.trainable and not (kinds and type(layer).__module__.startswith(layers.__name__))
        pairs.append((layer, new))
        return new

    found = rebuilt(model, DenseNetModel, copy)
    if kinds and not any(type(layer) in kinds or (dtype and type(layer) in kinds.values()) for layer, _ in pairs):
        raise ValueError(f"fold takes a model with DenseNet layers that are not folded yet. Received: {model.name!r}")
    for layer, new in pairs:
        if type(new) is not type(layer):
            new.set_weights(_WEIGHTS[type(layer)](layer))
        else:
            _copy_weights(layer, new)
    return found


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
