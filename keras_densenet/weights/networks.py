"""Which networks a file holds, what each is, and which tensors belong to one: never a guess."""

import dataclasses
import functools
import re
from typing import Any

from keras_densenet.architecture import STEMS, Architecture, stem_convolutions, transition_channels
from keras_densenet.weights import layouts

_KERNELS = (3, 4, 5)  # axes of a convolution's kernel
# Batches that torch has counted, thresholds of torchxrayvision for its outputs, what an optimizer remembers.
_NOBODYS = re.compile(r"(^|\.)(num_batches_tracked|op_threshs)$|(^|\.)state\.\d+\.")


@dataclasses.dataclass(frozen=True)
class Found:
    """A network in a file.

    Attributes:
        layout: a key of `LAYOUTS`.
        spelling: one of `layouts.spellings`.
        prefix: what the names of its tensors begin with.
        plan: an `Architecture` that has its layers; its widths are none of the file's.
        tensors: `{name in the file: tensor}` of the network and of what stands beside it.
    """

    layout: str
    spelling: tuple
    prefix: str
    plan: Architecture
    tensors: dict[str, Any]

    def names(self, plan):
        """`{name in the file: name here}` of what a network like `plan` has, in this one's layout and spelling."""
        table = {
            self.prefix + layouts.spelled(there, self.spelling): here
            for there, here in layouts.names(plan, self.layout).items()
        }
        if not plan.classes:
            return table
        *backbone, (_, kernel), (_, bias) = table.items()
        layer = self.classifier or self.prefix + layouts.classifier_name(self.layout)
        endings = layouts.LAYOUTS[self.layout].dense
        return dict(backbone) | {layer + end: here for end, here in zip(endings, (kernel, bias), strict=True)}

    @functools.cached_property
    def backbone(self):
        """`{name here: name in the file}` of what it has in front of a classifier; tensors may be missing."""
        table = layouts.names(self.plan, self.layout)
        return {here: self.prefix + layouts.spelled(there, self.spelling) for there, here in table.items()}

    @functools.cached_property
    def readers(self):
        """The layers that read all features and are none of the network's, whatever they are called."""
        layout, own, found = layouts.LAYOUTS[self.layout], set(self.backbone.values()), []
        ending, width = layout.dense[0], self.shape("head/norm_gamma")
        for name, tensor in self.tensors.items():
            if name.endswith(ending) and name not in own and len(tensor.shape) == 2:
                found += [name.removesuffix(ending)] if layout.shape_here(tensor.shape)[:1] == width else []
        return found

    @property
    def classifier(self):
        """The one of its `readers`, or the one of them that has the usual name; None otherwise."""
        usual = layouts.classifier_name(self.layout)
        named = [name for name in self.readers if re.search(rf"(^|[./]){re.escape(usual)}$", name)]
        found = named or self.readers
        return found[0] if len(found) == 1 else None

    def shape(self, here):
        """The shape, in the order of our axes, of a tensor by its name here; None where the file has none."""
        tensor = self.tensors.get(self.backbone.get(here))
        return None if tensor is None else layouts.LAYOUTS[self.layout].shape_here(tensor.shape)

    @property
    def dimensions(self):
        """How many spatial dimensions its stem's kernel has; None where that is none of a convolution."""
        shape = self.shape("stem/conv_kernel")
        return len(shape) - 2 if len(shape) in _KERNELS else None

    @property
    def classes(self):
        """Outputs of the classifier, None without one."""
        if not self.classifier:
            return None
        kernel = self.tensors[self.classifier + layouts.LAYOUTS[self.layout].dense[0]]
        return layouts.LAYOUTS[self.layout].shape_here(kernel.shape)[1]

    @property
    def architecture(self):
        """The `Architecture`, read off the names and shapes; raises ValueError where they are none of a DenseNet's."""
        *sizes, channels, _ = self._needed("stem/conv_kernel")
        suffix = stem_convolutions(self.plan.stem, channels, 2)[-1].suffix
        last = "conv2" if self.plan.bottleneck else "conv1"
        transitions = [self._needed(f"transition{b}/conv_kernel")[-2:] for b in range(1, len(self.plan.blocks))]
        return Architecture(
            blocks=self.plan.blocks,
            growth_rate=self._needed(f"block1/layer1_{last}_kernel")[-1],
            bottleneck=self.plan.bottleneck,
            theta=_theta(transitions),
            stem=self.plan.stem,
            stem_channels=self._needed(f"stem/conv{suffix}_kernel")[-1],
            classes=self.classes,
            input_shape=(*[None] * len(sizes), channels),
        )

    def left_over(self, names):
        """Tensors of the scope that network and classifier share, and its `readers`, that are not in `names`.

        What is nobody's is none, nor are statistics of layers in front of our own stem.
        """
        scope = self.prefix
        while not (self.classifier or scope).startswith(scope):
            scope = _outer(scope)
        rank = 2 if self.layout == layouts.OURS else 1
        return [
            name
            for name, tensor in self.tensors.items()
            if name not in names and len(tensor.shape) >= rank and not _NOBODYS.search(name)
            if name.startswith(scope) or re.sub("[./][^./]+$", "", name) in self.readers
        ]

    def _needed(self, here):
        if (shape := self.shape(here)) is None or len(shape) not in _KERNELS:
            raise ValueError(f"{self.backbone.get(here, here)} must be a convolution's kernel. Received: {shape}")
        return shape


@dataclasses.dataclass(frozen=True)
class Description:
    """What a network in a file is.

    Attributes:
        layout: a key of `LAYOUTS`.
        prefix: what the names of its tensors begin with.
        architecture: with the classes of its classifier, for images of any size.
        classifier: the name of that layer, None where there is none.
        missing: names of tensors that it should have and has not.
        left_over: names of tensors that no part of it has a place for.
    """

    layout: str
    prefix: str
    architecture: Architecture
    classifier: str | None
    missing: list[str]
    left_over: list[str]


def described(found):
    """The `Description` of what was `Found`; raises ValueError where its shapes are none of a DenseNet's."""
    plan = found.architecture
    names = found.names(plan)
    missing = [name for name in names if name not in found.tensors]
    return Description(found.layout, found.prefix, plan, found.classifier, missing, found.left_over(names))


def find(stored, path, network=None):
    """Finds a network in a file: there is one wherever a stem's kernel and a dense layer have a prefix in common.

    Args:
        stored: `{name: tensor}`, all that the file holds.
        path: of the file, for errors.
        network: what the names of its tensors begin with, without the separator. Default: the only one.

    Returns:
        What was `Found`.

    Raises:
        ValueError: if there is none, none of that name, or more than one.
    """
    networks = find_all(stored, path)
    known = [repr(name) for name in networks]
    if network is None and len(known) > 1:
        raise ValueError(f"{path!r} holds {len(known)} networks, {' and '.join(known)}: choose one of them as network")
    if network is not None and network not in networks:
        raise ValueError(f"network must be {' or '.join(known)} in {path!r}. Received: network={network!r}")
    return next(iter(networks.values())) if network is None else networks[network]


def find_all(stored, path):
    """All networks in a file, `{name: Found}`: they go by their stems' kernels where they have no other names."""
    found = {}
    for layout in layouts.LAYOUTS:
        for spelling in layouts.spellings(layout):
            stem = layouts.spelled(next(iter(layouts.names(_SMALLEST, layout))), spelling)
            for name in stored:
                if name.endswith(stem) and (plan := _plan(stored, layout, spelling, name.removesuffix(stem))):
                    candidate = Found(layout, spelling, name.removesuffix(stem), plan, stored)
                    found[name] = max(found.get(name, candidate), candidate, key=_fit)
    if not found:
        raise ValueError(f"{path!r} holds no DenseNet in a layout that is known here: {', '.join(layouts.LAYOUTS)}")
    prefixes = [network.prefix for network in found.values()]
    named = {network.prefix.rstrip("/._"): network for network in found.values()}
    if len(named) < len(found):
        named = found
    return {
        name: dataclasses.replace(network, tensors=_scope(network.prefix, stored, prefixes))
        for name, network in named.items()
    }


_SMALLEST = Architecture(blocks=(1,), growth_rate=1, stem="cifar", classes=None, input_shape=(None, None, 3))


def _plan(stored, layout, spelling, prefix):
    """The layers that have any tensor behind a prefix; None if there are none."""

    def layer(b, i):
        table = layouts.layer_names(b, i, layout)
        return [
            here
            for there, here in table.items()
            if "/layer" in here and prefix + layouts.spelled(there, spelling) in stored
        ]

    blocks, kinds = [], ""
    while layer(len(blocks) + 1, 1):
        b, count = len(blocks) + 1, 1
        kinds += " ".join(layer(b, 1))
        while layer(b, count + 1):
            count += 1
        blocks.append(count)
    if not blocks:
        return None
    options = {"growth_rate": 1, "bottleneck": "conv2" in kinds, "theta": 1.0, "classes": None}
    plans = [Architecture(blocks=tuple(blocks), stem=stem, input_shape=(None, None, 3), **options) for stem in STEMS]
    return max(plans, key=lambda plan: _fit(Found(layout, spelling, prefix, plan, stored)))


def _fit(found):
    """How well names fit: how many the file has, less those that it lacks, and how short the prefix is."""
    names = found.backbone.values()
    return sum(1 if name in found.tensors else -1 for name in names), -len(found.prefix)


def _scope(prefix, stored, prefixes):
    """What lies in the widest scope in which no other network stands, but for those that it has in it."""
    others, scope = [other for other in prefixes if other != prefix], prefix
    while scope and not any(other.startswith(_outer(scope)) for other in others):
        scope = _outer(scope)
    inner = tuple(other for other in others if other.startswith(scope))
    return {name: stored[name] for name in stored if name.startswith(scope) and not name.startswith(inner)}


def _outer(scope):
    return re.sub(r"[^/.]+[/.]?$", "", scope)


def _theta(transitions):
    ratios = sorted((kept / channels for channels, kept in transitions), reverse=True)
    for theta in (1.0, 0.5, *ratios):
        if all(transition_channels(theta, channels) == kept for channels, kept in transitions):
            return theta
    raise ValueError(f"All transitions must have one compression. Received: {transitions}")
