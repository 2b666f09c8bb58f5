"""Loading weights from anywhere, and saving them for anywhere."""

import dataclasses
import os

import keras
import numpy as np

from keras_densenet.files import written_beside
from keras_densenet.layers.folded import Folded
from keras_densenet.models.decisions import Decisions
from keras_densenet.types import Path
from keras_densenet.weights import catalogue, containers, fitting, hdf5, layouts, networks
from keras_densenet.weights.download import fetch

_ENDINGS = {
    layouts.OURS: (".weights.h5",),
    **dict.fromkeys(("torchvision", "monai"), (".safetensors", ".pth", ".pt")),
    "keras": (".weights.h5", ".h5"),
}


def load_weights(
    model: keras.Model,
    source: Path,
    skip_mismatch: bool = False,
    network: str | None = None,
    adapt_channels: bool = False,
    inflate: str | None = None,
) -> list[str]:
    """Loads published weights or a file into a DenseNet; nothing is assigned unless everything fits.

    Names, shapes and values are all checked first. Statistics that a foreign file keeps for every reader are turned
    into shared ones without changing what the network computes. What the names in a file begin with does not matter,
    nor what its classifier is called; whatever stands behind the network is left alone where the model has no
    classifier. For images of one channel the stem's kernel is summed over the three of the source: a grey image then
    gives what it gave as RGB with three equal channels.

    Args:
        model: a `DenseNetModel`.
        source: "imagenet" (the published weights of highest accuracy), a name from `list_weights()`, its first part
            ("keras-applications", "timm", "torchvision"), or the path of a file: `.weights.h5` or `.keras` of this
            package, `.h5` or `.weights.h5` of keras.applications, `.safetensors`, `.pth` or `.pt` of torchvision, timm
            or MONAI, or the folder of a run or of a keras-hub preset.
        skip_mismatch: whether to leave out the classifier where it has another shape or is not there.
        network: which of several networks in one file: the name of an inner model, or what the names of its tensors
            begin with there. An error lists them. Default: the only one.
        adapt_channels: whether to make the stem's kernel from one for another number of channels, as timm does: those
            for one channel are the sum, others the source's in turns, scaled to the same total.
        inflate: how to make kernels from those for inputs of another number of dimensions; axes come and go in front.
            With "centre" a kernel becomes the middle slice of the new one, among zeros: a volume of equal slices gives
            what the slice gave. With "repeat" it becomes every slice, divided by their number: the same away from the
            first and last slice, near which zeros beyond these count. Either way back a kernel is summed: a signal
            gives what an image gave that had it in every row, away from the first and last row.

    Returns:
        The names of the model's weights that were left out, a list.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if an optional library is needed; says which.
        OSError: if a download fails; says where from, where to, and what to do.
        TypeError: if `model` is no DenseNet, or a folded one.
        ValueError: if nothing is published for the model, the file is damaged, of another network or of more than one,
            or the model is quantised or has LoRA adapters; the model is then as it was.

    Examples:
        >>> kd.save_weights(model, "model.weights.h5")
        >>> kd.load_weights(model, "model.weights.h5")  # the names that were left out
        []
    """
    if not isinstance(source, (str, os.PathLike)) or not os.fspath(source):
        raise ValueError(f"weights must be None, a name from list_weights() or a path. Received: weights={source!r}")
    plan, variables = _network(model)
    _check_plain(model, "Load weights before quantize or enable_lora")
    path = os.fspath(source)
    if checkpoint := catalogue.find(path, plan):
        fitting.check_published(checkpoint, plan, skip_mismatch, adapt_channels, inflate)
        path = fetch(checkpoint)
    with containers.opened(path) as stored:
        found = networks.find(stored, path, network)
        values, skipped = fitting.read(found, plan, variables, path, skip_mismatch, adapt_channels, inflate)
    if found.layout != layouts.OURS:
        values = layouts.share_statistics(values, layouts.LAYOUTS[found.layout].epsilon, _epsilon(model))
    if checkpoint:
        if plan.rank == 2:  # what becomes of an image's pixels says nothing of voxels
            model.preprocessing, known = checkpoint.preprocessing, model.framing
            crop_pct = checkpoint.crop_pct or known.crop_pct
            interpolation = checkpoint.interpolation or known.interpolation
            model.framing = dataclasses.replace(known, crop_pct=crop_pct, interpolation=interpolation)
        if plan.classes and checkpoint.labels and not skipped:
            model.labels = checkpoint.labels
            if checkpoint.thresholds:
                model.decisions = Decisions(checkpoint.thresholds, rule=f"published with {checkpoint.name}")
    for name, array in values.items():
        variables[name].assign(array)
    return skipped


def load_alike(model, path):
    """Loads those weights of a file that a DenseNet has with the same name and shape; the others stay as they are.

    Args:
        model: a `DenseNetModel`.
        path: of a file of this package, as for `load_weights`.

    Returns:
        The names of the model's weights that were loaded, a list.
    """
    plan, variables = _network(model)
    path, values = os.fspath(path), {}
    with containers.opened(path) as stored:
        found = networks.find(stored, path)
        for there, here in found.names(plan).items():
            tensor = found.tensors.get(there)
            if tensor is not None and tuple(tensor.shape) == tuple(variables[here].shape):
                values[here] = fitting.checked(tensor, there, here, path)
    for name, array in values.items():
        variables[name].assign(array)
    return list(values)


def save_weights(model: keras.Model, path: Path, layout: str = layouts.OURS) -> None:
    """Writes a DenseNet's weights for this package or another framework, in float32.

    What a layout has no place for is refused, but for LoRA adapters, which become part of the classifier's kernel.

    Args:
        model: a `DenseNetModel`.
        path: of the file; one that is there is replaced.
        layout: "keras_densenet" (`.weights.h5`), "torchvision" or "monai" (`.safetensors`, `.pth` or `.pt`; torchvision
            and timm, or MONAI, load it strictly) or "keras" (`.h5` or `.weights.h5`; `keras.applications` loads it into
            its networks).

    Raises:
        ImportError: if an optional library is needed; says which.
        TypeError: if `model` is no DenseNet, or a folded one.
        ValueError: for an unknown layout, another ending, or weights that cannot be written so that they come back.

    Examples:
        >>> kd.save_weights(model, "a.weights.h5")
        >>> network = kd.DenseNet(blocks=(1, 1), growth_rate=4, input_shape=(32, 32, 3))
        >>> kd.save_weights(network, "a.pth", layout="torchvision")
    """
    check_target(path, layout)
    plan, variables = _network(model)
    values = {name: np.asarray(variable.numpy(), "float64") for name, variable in variables.items()}
    _check_finite(values)
    if layout == layouts.OURS:
        with written_beside(path) as beside:
            model.save_weights(beside)
            hdf5.name_layers(beside, _names_in_file(model))
        return
    _check_plain(model, f"layout={layout!r} has no quantised weights: save them before quantize", lora=True)
    _check_complete(model, variables, layout)
    if plan.classes:
        values["classifier/kernel"] = np.asarray(keras.ops.convert_to_numpy(model.stages["classifier"].kernel))
    theirs = layouts.LAYOUTS[layout]
    values = layouts.spread_statistics(values, _epsilon(model), theirs.epsilon)
    arrays = {there: theirs.there(values[here]) for there, here in layouts.names(plan, layout).items()}
    with np.errstate(over="ignore"):
        arrays = {name: np.ascontiguousarray(array, "float32") for name, array in arrays.items()}
    _check_finite(arrays)
    containers.write(path, arrays)


def describe_file(path):
    """What networks are in a file or folder: `{name: Description}`.

    Args:
        path: as for `load_weights`.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged, or there is no DenseNet in it.
    """
    path = os.fspath(path)
    with containers.opened(path) as stored:
        return {name: networks.described(found) for name, found in networks.find_all(stored, path).items()}


def check_target(path, layout):
    """Raises ValueError unless `save_weights` knows the layout and writes such files for it."""
    if layout not in _ENDINGS:
        raise ValueError(f"layout must be one of {', '.join(_ENDINGS)}. Received: layout={layout!r}")
    if not os.fspath(path).endswith(_ENDINGS[layout]):
        endings = " or ".join(_ENDINGS[layout])
        raise ValueError(f"path must end in {endings} for layout={layout!r}. Received: {os.fspath(path)!r}")


def _network(model):
    """The architecture and `{"block1/layer1_norm1_gamma": variable, ...}`, without what stands before the stem."""
    plan, stages = getattr(model, "architecture", None), getattr(model, "stages", {})
    if not plan or any(isinstance(layer, Folded) for layer in stages.values()):
        kind = "folded one" if plan else type(model).__name__
        raise TypeError(f"Weights go into and out of a DenseNet of this package that is not folded. Received: a {kind}")
    variables = {f"{name}/{v.name}": v for name, layer in stages.items() for v in layer.weights}
    names = layouts.names(plan, layouts.OURS)
    if missing := [name for name in names if name not in variables]:
        raise ValueError(
            f"The model must have all weights of a DenseNet. Received: {model.name!r} without {missing[0]}"
        )
    return plan, {name: variables[name] for name in names}


def _names_in_file(model):
    """`{a stage's layer: the stage}` where they differ, so that a file has the same names whatever the layers' are."""
    stages = {layer.name: name for name, layer in model.stages.items() if layer.name != name}
    taken = {layer.name for layer in model.layers if layer.weights} - stages.keys()
    return {} if taken & set(stages.values()) else stages


def _epsilon(model):
    epsilons = {layer.epsilon for layer in model.stages.values() if hasattr(layer, "epsilon")}
    if len(epsilons) > 1:
        raise ValueError(f"Other layouts have one epsilon for all layers. Received: {sorted(epsilons)}")
    return epsilons.pop()


def _check_plain(model, what_to_do, lora=False):
    for layer in model.stages.values():
        quantised = getattr(layer, "quantization_mode", None)
        if quantised or (getattr(layer, "lora_enabled", False) and not lora):
            raise ValueError(
                f"{what_to_do}. Received: layer {layer.name!r} {f'in {quantised}' if quantised else 'with LoRA'}"
            )


def _check_complete(model, variables, layout):
    written = {id(variable) for variable in variables.values()}
    rest = [v.path for v in model.weights if id(v) not in written and not v.name.startswith("lora_kernel_")]
    if rest:
        raise ValueError(
            f"layout={layout!r} has places for a DenseNet alone, up to one Dense layer as its classifier. "
            f"Received: {model.name!r} with {', '.join(rest[:3])}"
        )


def _check_finite(values):
    if wrong := [name for name, array in values.items() if not np.isfinite(array).all()]:
        raise ValueError(f"Weights must be finite numbers, in float32 too. Received: {', '.join(wrong[:3])}")
