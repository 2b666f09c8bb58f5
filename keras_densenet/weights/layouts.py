"""How frameworks name a DenseNet's tensors, and what becomes of statistics that each reader keeps for itself.

In between, names are this package's but for one thing: where `features_moving_mean` of a block belongs to its features
here, foreign layouts have `layer1_norm1_moving_mean`, `layer2_norm1_moving_mean`, ..., one for each reader.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_densenet.architecture import stem_convolutions


class Layout(NamedTuple):
    """What one framework does in its own way.

    Attributes:
        part: index into what `_parts` yields: the name of a convolution, normalisation or classifier.
        conv, norm, dense: endings of its tensors' names.
        axes: gives, for a number of axes, the order of ours in its tensors.
        epsilon: of its batch normalisation.
        spellings: pairs of a pattern and what stands in its place in some of its files, any of them or several at once.
        renamed: such pairs for names that are another layout's but for these, in all of its files.
    """

    part: int
    conv: tuple
    norm: tuple
    dense: tuple
    axes: Callable[[int], tuple[int, ...]]
    epsilon: float
    spellings: tuple = ()
    renamed: tuple = ()

    def shape(self, shape):
        """The shape there of a tensor that has this shape here."""
        return tuple(shape[axis] for axis in self.axes(len(shape)))

    def there(self, array):
        """An array of ours with the axes in their order."""
        return array.transpose(self.axes(array.ndim))

    def here(self, array):
        """The way back from `there`."""
        return array.transpose(np.argsort(self.axes(array.ndim)))

    def shape_here(self, shape):
        """The way back from `shape`."""
        return tuple(shape[axis] for axis in np.argsort(self.axes(len(shape))))


OURS = "keras_densenet"
_CLASSIFIER = "classifier", "classifier", "predictions", "predictions"
_TORCH_NORM = (".weight", ".bias", ".running_mean", ".running_var")
_TORCH_SPELLINGS = (
    (r"^features\.", ""),  # what is left of a network whose `features` alone were taken
    (r"(denselayer\d+\.(?:layers\.)?(?:norm|conv))(\d)", r"\1.\2"),  # torchvision before 0.2.2: norm.1
)
_MONAI = ((r"(denselayer\d+)\.", r"\1.layers."), ("^classifier$", "class_layers.out"))
_OUR_NORM = ("_gamma", "_beta", "_moving_mean", "_moving_variance")
_KERAS_NORM = ("/gamma", "/beta", "/moving_mean", "/moving_variance")
_KERAS_SPELLINGS = ((r"^conv1_", "conv1/"),)  # keras.applications before Keras 3, inside another model


def _as_here(rank):
    return tuple(range(rank))


def _output_first(rank):
    """PyTorch's: outputs, inputs, then a kernel's sizes."""
    return (*reversed(range(max(rank - 2, 0), rank)), *range(rank - 2))


_TORCH = Layout(1, (".weight",), _TORCH_NORM, (".weight", ".bias"), _output_first, 1e-5, _TORCH_SPELLINGS)
_KERAS = Layout(3, ("/kernel",), _KERAS_NORM, ("/kernel", "/bias"), _as_here, 1.001e-5)

LAYOUTS = {
    OURS: Layout(0, ("_kernel",), _OUR_NORM, ("/kernel", "/bias"), _as_here, 1e-5),
    "torchvision": _TORCH,
    "monai": _TORCH._replace(renamed=_MONAI),
    "keras": _KERAS._replace(part=2, spellings=_KERAS_SPELLINGS),
    "keras-hub": _KERAS,
}


def names(plan, layout):
    """The tensors of a network in a layout, in the network's order.

    Args:
        plan: the `Architecture`.
        layout: a key of `LAYOUTS`.

    Returns:
        `{name there: name here}`.
    """
    return _named(_parts(plan), layout)


def layer_names(b, i, layout):
    """What `names` has of the i-th layer in block b, with a bottleneck."""
    return _named(_layer_parts(b, i, bottleneck=True), layout)


def _named(parts, layout):
    theirs, ours, found = LAYOUTS[layout], LAYOUTS[OURS], {}
    for kind, *part in parts:
        endings = zip(getattr(theirs, kind), getattr(ours, kind), strict=True)
        name = spelled(part[theirs.part], theirs.renamed)
        found.update({name + there: part[0] + here for there, here in endings})
    return {shared_name(name): shared_name(name) for name in found} if layout == OURS else found


def shared_name(name):
    """What a reader's statistic is here: `block1/features_moving_mean` for `block1/layer2_norm1_moving_mean`."""
    return re.sub(r"layer\d+_norm1_moving_", "features_moving_", name)


def classifier_name(layout):
    """What a layout calls the classifier, which has any name in its files."""
    theirs = LAYOUTS[layout]
    return spelled(_CLASSIFIER[theirs.part], theirs.renamed)


def spellings(layout):
    """The ways to spell a layout's names: tuples of what to replace by what, its own names first."""
    pairs = LAYOUTS[layout].spellings
    return [some for count in range(len(pairs) + 1) for some in itertools.combinations(pairs, count)]


def spelled(name, spelling):
    """A name of a layout as some of its files have it, or another layout."""
    for pattern, other in spelling:
        name = re.sub(pattern, other, name)
    return name


def _parts(plan):
    """Yields the kind of every part and its names: here, in torchvision and timm, keras.applications, keras-hub."""
    for i, (suffix, *_) in enumerate(stem_convolutions(plan.stem, plan.input_shape[-1], plan.stem_channels)):
        yield "conv", f"stem/conv{suffix}", f"features.conv{i}", f"conv{i + 1}_conv", f"conv{i + 1}_conv"
        if plan.stem != "cifar":
            yield "norm", f"stem/norm{suffix}", f"features.norm{i}", f"conv{i + 1}_bn", f"conv{i + 1}_bn"
    for b, layers in enumerate(plan.blocks, 1):
        for i in range(1, layers + 1):
            yield from _layer_parts(b, i, plan.bottleneck)
        if b < len(plan.blocks):
            here, torch, keras, hub = f"transition{b}/", f"features.transition{b}.", f"pool{b + 1}_", f"transition{b}_"
            yield "norm", f"{here}norm", f"{torch}norm", f"{keras}bn", f"{hub}bn"
            yield "conv", f"{here}conv", f"{torch}conv", f"{keras}conv", f"{hub}conv"
    yield "norm", "head/norm", "features.norm5", "bn", "bn"
    if plan.classes:
        yield "dense", *_CLASSIFIER


def _layer_parts(b, i, bottleneck):
    here, torch = f"block{b}/layer{i}", f"features.denseblock{b}.denselayer{i}"
    keras, hub = f"conv{b + 1}_block{i}", f"stack{b}_block{i}"
    for n in (1, 2) if bottleneck else (1,):
        yield "norm", f"{here}_norm{n}", f"{torch}.norm{n}", f"{keras}_{n - 1}_bn", f"{hub}_{n}_bn"
        yield "conv", f"{here}_conv{n}", f"{torch}.conv{n}", f"{keras}_{n}_conv", f"{hub}_{n}_conv"


def share_statistics(tensors, theirs, ours):
    """Turns statistics of readers into statistics of features; what the network computes stays the same.

    The shared mean and variance of a feature are the median of its readers', which leaves scales and shifts untouched
    where the readers agree, as they do after ordinary training.

    Args:
        tensors: `{name: float64 array}` with a mean and variance for every reader.
        theirs, ours: epsilon before and after.

    Returns:
        `{name: float64 array}` with `features_moving_mean` and `features_moving_variance` for every block.
    """
    shared: dict[str, Any] = {}
    readers: dict[str, list[Any]] = {}
    for name, values in tensors.items():
        if shared_name(name) == name:
            shared[name] = values
        else:
            readers.setdefault(shared_name(name), []).append(values)
    for name, rows in readers.items():
        table = np.full((len(rows), max(map(len, rows))), np.nan)
        for row, values in zip(table, rows, strict=True):
            row[: len(values)] = values
        shared[name] = np.nanmedian(table, axis=0)
    return _restate(tensors, shared, theirs, ours)


def spread_statistics(tensors, ours, theirs):
    """The way back from `share_statistics`: gives every reader the mean and variance of the features it reads."""
    spread = {name: values for name, values in tensors.items() if "/features_" not in name}
    for norm in _norms(tensors):
        mean, variance = _statistics(tensors, norm)
        spread.update({f"{norm}_moving_mean": mean, f"{norm}_moving_variance": variance})
    return _restate(tensors, spread, ours, theirs)


def _restate(before, after, epsilon_before, epsilon_after):
    """Sets the scales and shifts in `after` so that they do with its statistics what those in `before` did."""
    for norm in _norms(before):
        (m0, v0), (m1, v1) = _statistics(before, norm), _statistics(after, norm)
        slope = before[f"{norm}_gamma"] / np.sqrt(v0 + epsilon_before)
        after[f"{norm}_gamma"] = slope * np.sqrt(v1 + epsilon_after)
        after[f"{norm}_beta"] = before[f"{norm}_beta"] + slope * (m1 - m0)
    return after


def _norms(tensors):
    return [name.removesuffix("_gamma") for name in tensors if name.endswith("_gamma")]


def _statistics(tensors, norm):
    """The mean and variance that a normalisation reads: its own, or those of the first features of its block."""
    owner = norm if f"{norm}_moving_mean" in tensors else f"{norm.split('/')[0]}/features"
    channels = len(tensors[f"{norm}_gamma"])
    return [tensors[f"{owner}_moving_{statistic}"][:channels] for statistic in ("mean", "variance")]
