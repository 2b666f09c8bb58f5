"""The family by name: a constructor for each ImageNet network, and one for all names."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import keras

from keras_densenet.family import variant
from keras_densenet.models.densenet import DenseNet
from keras_densenet.models.model import DenseNetModel
from keras_densenet.types import Activation, DType, InputShape, Path

P = ParamSpec("P")


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

    Examples:
        >>> model = kd.create_model("densenet-bc-40-12", classes=100)
        >>> model.output_shape
        (None, 100)
    """
    network = variant(name)
    if "blocks" in arguments or "depth" in arguments:
        raise ValueError(
            f"{name} has a depth of its own: use keras_densenet.DenseNet for another. Received: {arguments!r}"
        )
    del network["input_shape"]  # DenseNet has it for a default, unless published weights are for other images
    return DenseNet(**{**network, "name": name.replace("-", "_"), **arguments})


def _arguments(
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "",
    dtype: DType = None,
) -> dict[str, Any]:
    """What a constructor takes, for those who look at its signature; the default of `name` is the network's own."""
    return locals()


def _taking(arguments: Callable[P, Any]) -> Callable[[Callable[..., DenseNetModel]], Callable[P, DenseNetModel]]:
    """Gives a constructor the signature of a function, which editors and `inspect` show, and fills in its defaults."""

    def decorate(build: Callable[..., DenseNetModel]) -> Callable[P, DenseNetModel]:
        own, known = build.__name__, inspect.signature(arguments)
        parameters = {**known.parameters, "name": known.parameters["name"].replace(default=own.lower())}
        signature = known.replace(parameters=[*parameters.values()], return_annotation=DenseNetModel)

        @functools.wraps(build)
        def constructor(*args: P.args, **options: P.kwargs) -> DenseNetModel:
            try:
                given = signature.bind(*args, **options)
            except TypeError as error:
                raise TypeError(f"{own}() {error}") from None
            given.apply_defaults()
            return build(**given.arguments)

        constructor.__signature__ = signature  # type: ignore[attr-defined]
        constructor.__annotations__ = {**inspect.get_annotations(arguments), "return": DenseNetModel}
        return constructor

    return decorate


@_taking(_arguments)
def DenseNet121(**arguments: Any) -> DenseNetModel:
    """DenseNet-121: blocks of (6, 12, 24, 16), k = 32. Arguments as in `DenseNet` and `keras.applications`.

    Examples:
        >>> kd.DenseNet121(include_top=False, pooling="avg").output_shape
        (None, 1024)
    """
    return create_model("densenet121", **arguments)


@_taking(_arguments)
def DenseNet161(**arguments: Any) -> DenseNetModel:
    """DenseNet-161: blocks of (6, 12, 36, 24), k = 48. Arguments as in `DenseNet` and `keras.applications`.

    Examples:
        >>> model = kd.DenseNet161(weights="imagenet")  # doctest: +SKIP
    """
    return create_model("densenet161", **arguments)


@_taking(_arguments)
def DenseNet169(**arguments: Any) -> DenseNetModel:
    """DenseNet-169: blocks of (6, 12, 32, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`.

    Examples:
        >>> model = kd.DenseNet169(weights="imagenet")  # doctest: +SKIP
    """
    return create_model("densenet169", **arguments)


@_taking(_arguments)
def DenseNet201(**arguments: Any) -> DenseNetModel:
    """DenseNet-201: blocks of (6, 12, 48, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`.

    Examples:
        >>> model = kd.DenseNet201(weights="imagenet")  # doctest: +SKIP
    """
    return create_model("densenet201", **arguments)


@_taking(_arguments)
def DenseNet264(**arguments: Any) -> DenseNetModel:
    """DenseNet-264: blocks of (6, 12, 64, 48), k = 32. Arguments as in `DenseNet` and `keras.applications`.

    Examples:
        >>> kd.DenseNet264(include_top=False, pooling="avg").output_shape
        (None, 2688)
    """
    return create_model("densenet264", **arguments)
