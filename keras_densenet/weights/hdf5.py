"""Keras' two HDF5 formats: tensors under the name of their layer."""

import re

import h5py
import numpy as np


def read_tensors(file):
    """Lists the tensors of an open file without reading them.

    Args:
        file: an `h5py.File`, of Keras 3 (`.weights.h5`) or of the legacy format (`.h5`).

    Returns:
        `{"layer/tensor": h5py.Dataset}`; optimizer and seeds are left out.

    Raises:
        OSError: if the file links to other files, which is never followed.
    """
    # What these callbacks return ends the visit; what they raise h5py does not always pass on.
    if place := file.visititems_links(lambda place, link: None if isinstance(link, h5py.HardLink) else place):
        raise OSError(f"{place} is a link, which is not followed")
    places, found = [], {}
    file.visititems(lambda place, item: places.append(place) if isinstance(item, h5py.Dataset) else None)
    is_legacy = "model_weights" in file or any(name.startswith("layer_names") for name in file.attrs)
    for place in places:
        dataset = file[place]
        if dataset.external or dataset.is_virtual:
            raise OSError(f"the data of {place} lies in another file, which is not read")
        if name := _legacy_name(place) if is_legacy else _keras3_name(place, dataset):
            found[name] = dataset
    return found


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
            kind, names = _KINDS[len(weights)]
            count = counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"layers/{kind}_{count}/vars" if count else f"layers/{kind}/vars")
            group.attrs["name"] = layer
            for number, name in enumerate(names):
                group[str(number)] = weights[name]


# A layer's class and the order of its tensors, by their number.
_KINDS = {
    1: ("conv2d", ("kernel",)),
    2: ("dense", ("kernel", "bias")),
    4: ("batch_normalization", ("gamma", "beta", "moving_mean", "moving_variance")),
}


def _by_layer(tensors):
    layers = {}
    for name, values in tensors.items():
        layer, weight = name.split("/")
        layers.setdefault(layer, {})[weight] = values
    return layers


def _legacy_name(place):
    """`conv1/conv/conv1/conv_1/kernel:0`, of layer `conv1/conv`, is `conv1_conv/kernel`.

    A place of another form keeps its name, so that it is refused by it.
    """
    place = place.removeprefix("model_weights/")
    if place.startswith(("optimizer_weights/", "top_level_model_weights/")):
        return None
    *scopes, weight = place.split("/")
    half = len(scopes) // 2
    layer, scope = "_".join(scopes[:half]), "_".join(scopes[half:])
    return f"{layer}/{weight.split(':')[0]}" if re.fullmatch(rf"{re.escape(layer)}(_\d+)?", scope) else place


def _keras3_name(place, dataset):
    """`layers/conv2d_3/vars/0` is `conv1_conv/kernel` where the file says that the layer's name is `conv1_conv`."""
    match = re.fullmatch(r"(?:.*/)?layers/([^/]+)/vars/([^/]+)", place)
    if not match:
        return None
    layer, name = match.groups()
    _, names = _KINDS.get(len(dataset.parent), (None, ()))
    if name.isdigit() and int(name) < len(names):
        name = names[int(name)]
    return f"{dataset.parent.attrs.get('name', layer)}/{name}"
