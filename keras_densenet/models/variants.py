"""The family by name: a constructor for each ImageNet network, and one for all names."""

from keras_densenet.family import variant
from keras_densenet.models.densenet import DenseNet


def create_model(name, /, **arguments):
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
    if arguments.get("input_tensor") is not None or not arguments.get("include_top", True):
        del network["input_shape"]
    if arguments.get("input_shape", ()) is None:
        del arguments["input_shape"]
    return DenseNet(**{**network, "name": name.replace("-", "_"), **arguments})


def DenseNet121(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="densenet121",
):
    """DenseNet-121: blocks of (6, 12, 24, 16), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet121", **locals())


def DenseNet161(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="densenet161",
):
    """DenseNet-161: blocks of (6, 12, 36, 24), k = 48. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet161", **locals())


def DenseNet169(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="densenet169",
):
    """DenseNet-169: blocks of (6, 12, 32, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet169", **locals())


def DenseNet201(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="densenet201",
):
    """DenseNet-201: blocks of (6, 12, 48, 32), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet201", **locals())


def DenseNet264(
    include_top=True,
    weights=None,
    input_tensor=None,
    input_shape=None,
    pooling=None,
    classes=1000,
    classifier_activation="softmax",
    name="densenet264",
):
    """DenseNet-264: blocks of (6, 12, 64, 48), k = 32. Arguments as in `DenseNet` and `keras.applications`."""
    return create_model("densenet264", **locals())
