"""The family by name: what each name stands for, as arguments of `DenseNet`."""

import difflib


def _imagenet(*blocks, k=32, stem="imagenet", **others):
    network = {"blocks": blocks, "growth_rate": k, "stem": stem, "classes": 1000, "input_shape": (224, 224, 3)}
    return {**network, **others}


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
    "densenetblur121d": _imagenet(6, 12, 24, 16, stem="deep", stem_pool="blur"),  # timm's, as the next one
    "densenet264d": _imagenet(6, 12, 64, 48, k=48, stem="deep"),
    **{_cifar_name(*row): _cifar(*row) for row in _CIFAR},
}


def list_models() -> list[str]:
    """Names that `create_model` knows, as a list of strings.

    Examples:
        >>> kd.list_models()[:3]
        ['densenet121', 'densenet161', 'densenet169']
    """
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
    hint = f" Did you mean {' or '.join(near)}?" if near else " list_models() (keras-densenet models) has all."
    raise ValueError(f"Unknown model. Received: {name!r}.{hint}")
