"""The family by name: a table, and a constructor for each ImageNet network."""

import difflib

from keras_densenet.models.densenet import DenseNet


def _imagenet(*blocks, k=32):
    return {"blocks": blocks, "growth_rate": k, "stem": "imagenet", "classes": 1000, "input_shape": (224, 224, 3)}


def _cifar(kind, depth, k):
    options = {"": (False, 1.0), "b": (True, 1.0), "c": (False, 0.5), "bc": (True, 0.5)}
    bottleneck, theta = options[kind]
    network = {"depth": depth, "growth_rate": k, "bottleneck": bottleneck, "theta": theta}
    return {**network, "stem": "cifar", "classes": 10, "input_shape": (32, 32, 3)}


def _cifar_name(kind, depth, k):
    return "-".join(filter(None, ("densenet", kind, str(depth), str(k))))


# Kind, depth L and growth rate k of the paper's table 2, of its figure 4, and of the authors' wide networks.
_CIFAR = [
    *(("", 40, 12), ("", 100, 12), ("", 100, 24)),
    *(("b", 40, 12), ("b", 100, 12), ("c", 40, 12), ("c", 100, 12)),
    *(("bc", 40, 12), ("bc", 100, 12), ("bc", 250, 24), ("bc", 190, 40)),
    *(("bc", 40, 36), ("bc", 40, 48), ("bc", 40, 60)),
]

VARIANTS = {
    "densenet121": _imagenet(6, 12, 24, 16),
    "densenet161": _imagenet(6, 12, 36, 24, k=48),
    "densenet169": _imagenet(6, 12, 32, 32),
    "densenet201": _imagenet(6, 12, 48, 32),
    "densenet264": _imagenet(6, 12, 64, 48),
    "densenet264-k48": _imagenet(6, 12, 64, 48, k=48),
    **{_cifar_name(*row): _cifar(*row) for row in _CIFAR},
}


def list_models():
    """Names that `create_model` knows, as a list of strings."""
    return list(VARIANTS)


def variant(name):
    """The arguments of `DenseNet` that the network `name` stands for.

    Args:
        name: one of `list_models()`.

    Returns:
        A dict of `DenseNet` arguments.

    Raises:
        ValueError: for an unknown name; gives the nearest ones.
    """
    if name in VARIANTS:
        return dict(VARIANTS[name])
    near = difflib.get_close_matches(str(name).lower(), VARIANTS, n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else " See keras_densenet.list_models()."
    raise ValueError(f"Unknown model. Received: {name!r}.{hint}")


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
