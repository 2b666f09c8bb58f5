"""Keras' two HDF5 formats: tensors under the name of their layer."""

import re

import h5py
import numpy as np


def read_tensors(file):
    """Lists the tensors of an open file without reading them.

    Args:
        file: an `h5py.File`, of Keras 3 (`.weights.h5`) or of the legacy format (`.h5`).

    Returns:
        `{"layer/tensor": h5py.Dataset}`, and `{"model/layer/tensor": ...}` for models in models; optimizer and seeds
        are left out.

    Raises:
        OSError: if the file links to other files, which is never followed, or two tensors have one name.
    """
    # What these callbacks return ends the visit; what they raise h5py does not always pass on.
    if place := file.visititems_links(lambda place, link: None if isinstance(link, h5py.HardLink) else place):
        raise OSError(f"{place} is a link, which is not followed")
    places, found = [], {}
    file.visititems(lambda place, item: places.append(place) if isinstance(item, h5py.Dataset) else None)
    is_legacy = "model_weights" in file or any(name.startswith("layer_names") for name in file.attrs)
    scopes = {} if is_legacy else _keras3_scopes(file, places)
    for place in places:
        dataset = file[place]
        if dataset.external or dataset.is_virtual:
            raise OSError(f"the data of {place} lies in another file, which is not read")
        if name := _legacy_name(place) if is_legacy else _keras3_name(place, dataset, scopes):
            if name in found:
                raise OSError(f"{found[name].name} and {dataset.name} are both {name}")
            found[name] = dataset
    return found


def name_layers(path, names):
    """Changes the names that a file of Keras 3 gives layers; Keras itself goes by their places and ignores them.

    Args:
        path: of the file.
        names: `{name in the file: other name}`, for layers that are in no inner model.
    """
    with h5py.File(path, "r+") as file:
        for layer in file["layers"].values():
            known = layer["vars"].attrs if "vars" in layer else {}
            if known.get("name") in names:
                known["name"] = names[known["name"]]


def write_legacy(path, tensors):
    """Writes `{"layer/tensor": array}` in the legacy format, which Keras reads in the order of its layers."""
    layers = _by_layer(tensors)
    with h5py.File(path, "w") as file:
        file.attrs.update(layer_names=np.array(list(layers), "S"), backend="tensorflow", keras_version="2.15.0")
        for layer, weights in layers.items():
            names = [f"{layer}/{name}:0" for name in weights]
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array(names, "S")
            for name, values in zip(names, weights.values(), strict=True):
                group[name] = values


def write_keras3(path, tensors):
    """Writes `{"layer/tensor": array}` in the format of Keras 3, which numbers the layers of a class."""
    counts = {}
    with h5py.File(path, "w") as file:
        for layer, weights in _by_layer(tensors).items():
            kind = _KIND_OF[len(weights)]
            count = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}_{count}/vars" if count else f"layers/{kind}/vars")
            group.attrs["name"] = layer
            for number, name in enumerate(_NAMES[kind]):
                group[str(number)] = weights[name]


# The order of a layer's tensors, and its class by their number.
_NAMES = {
    "conv2d": ("kernel",),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
_KIND_OF = {len(names): kind for kind, names in _NAMES.items()}


def _by_layer(tensors):
    layers = {}
    for name, values in tensors.items():
        layer, weight = name.split("/")
        layers.setdefault(layer, {})[weight] = values
    return layers


def _legacy_name(place):
    """`conv1/conv/conv1/conv_1/kernel:0`, of layer `conv1/conv`, is `conv1_conv/kernel`.

    A place of another form is of a layer in a model: it keeps its name.
    """
    place = place.removeprefix("model_weights/")
    if place.startswith(("optimizer_weights/", "top_level_model_weights/")):
        return None
    *scopes, weight = place.split("/")
    half = len(scopes) // 2
    layer, scope = "_".join(scopes[:half]), "_".join(scopes[half:])
    is_layer = re.fullmatch(rf"{re.escape(layer)}(_\d+)?", scope)
    return "/".join([layer] if is_layer else scopes) + "/" + weight.split(":")[0]


_KERAS3 = re.compile(r"(.*/|)layers/([^/]+)/vars/([^/]+)")


def _keras3_scopes(file, places):
    """`{"layers/functional_1/": "backbone/"}`: what inner models are called; their places, if two are called alike."""

    def named(scope):
        parts, found = scope.split("/")[:-1], ""
        for end, part in enumerate(parts, 1):
            inner = file.get("/".join([*parts[:end], "vars"]))
            found += "" if part == "layers" else f"{part if inner is None else inner.attrs.get('name', part)}/"
        return found

    scopes = {match[1] for match in map(_KERAS3.fullmatch, places) if match}
    names = {scope: named(scope) for scope in scopes}
    return names if len(set(names.values())) == len(names) else {scope: scope for scope in scopes}


def _keras3_name(place, dataset, scopes):
    """`layers/conv2d_3/vars/0` is `conv1_conv/kernel` where the file says that the layer's name is `conv1_conv`."""
    match = _KERAS3.fullmatch(place)
    if not match:
        return None
    scope, layer, name = match.groups()
    kind = "dense" if re.fullmatch(r"dense(_\d+)?", layer) else _KIND_OF.get(len(dataset.parent))
    names = _NAMES.get(kind, ())
    if name.isdigit() and int(name) < len(names):
        name = names[int(name)]
    return f"{scopes[scope]}{dataset.parent.attrs.get('name', layer)}/{name}"
