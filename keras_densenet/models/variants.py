"""The family by name: a constructor for each ImageNet network, and one for all names."""

from typing import Any

import keras

from keras_densenet.family import variant
from keras_densenet.models.densenet import DenseNet, DenseNetModel
from keras_densenet.types import Activation, ImageShape, Path


def create_model(name: str, /, **arguments: Any) -> DenseNetModel:
    """Builds a network of the family by name.

    Args:
        name: one of `list_models()`, such as "densenet121" or "densenet-bc-100-12".
        **arguments: arguments of `DenseNet` that differ from the published network's, such as `classes=100` or
            `input_shape=(28, 28, 1)`.

    Returns:
        A `DenseNetModel`.

    Raises:
        ValueError: for an unknown name (with the nearest ones) and whatever `DenseNet` refuses.

    Example:
        >>> model = keras_densenet.create_model("densenet-bc-100-12", classes=100)
    """
    network = variant(name)
    if "blocks" in arguments or "depth" in arguments:
        raise ValueError(
            f"{name} has a depth of its own: use keras_densenet.DenseNet for another. Received: {arguments!r}"
        )
    del network["input_shape"]  # DenseNet has it for a default, unless published weights are for other images
    return DenseNet(**{**network, "name": name.replace("-", "_"), **arguments})


def DenseNet121(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: ImageShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet121",
) -> DenseNetModel:
    """DenseNet-121: blocks of (6, 12, 24, 16), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet121", **locals())


def DenseNet161(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: ImageShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet161",
) -> DenseNetModel:
    """DenseNet-161: blocks of (6, 12, 36, 24), k = 48. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet161", **locals())


def DenseNet169(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: ImageShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet169",
) -> DenseNetModel:
    """DenseNet-169: blocks of (6, 12, 32, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet169", **locals())


def DenseNet201(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: ImageShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet201",
) -> DenseNetModel:
    """DenseNet-201: blocks of (6, 12, 48, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet201", **locals())


def DenseNet264(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: ImageShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet264",
) -> DenseNetModel:
    """DenseNet-264: blocks of (6, 12, 64, 48), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet264", **locals())
