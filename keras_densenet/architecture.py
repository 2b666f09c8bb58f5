"""What a DenseNet is, before anything is built: its numbers, checked, and the stages they imply."""

import dataclasses
import functools
import numbers
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from keras_densenet.types import InputShape

STEMS = {"imagenet": (7,), "deep": (3, 3, 3), "cifar": (3,)}
"""The sizes of each stem's kernels. A CIFAR stem is a bare convolution; behind all others stand BN, ReLU and a pool."""


class StemConvolution(NamedTuple):
    """One of the convolutions of a stem; its weights and those of its BN end in `suffix`, "" for the first one's."""

    suffix: str
    size: int
    stride: int
    in_channels: int
    out_channels: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """One row of the paper's Table 1.

    `kind` is "stem", "pool", "block", "transition" or "head"; `size` is the output's in pixels, such as `(height,
    width)`, with None for what is unknown of the image's.
    """

    name: str
    kind: str
    in_channels: int
    out_channels: int
    layers: int
    size: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The numbers that define a DenseNet; construction checks them.

    Args:
        blocks: layers of each dense block, such as `(6, 12, 24, 16)`.
        growth_rate: k, the channels that every layer adds.
        bottleneck: whether a layer is BN-ReLU-1x1-BN-ReLU-3x3 (-B) or BN-ReLU-3x3 (plain).
        theta: compression of the transitions, in (0, 1]; they keep floor(theta * channels).
        stem: "imagenet" (7x7/2, BN, ReLU, pool), "deep" (the same with three 3x3 convolutions, the first of stride 2,
            the first two to half of the channels) or "cifar" (a bare 3x3 convolution).
        stem_channels: the stem's channels. Default: 2k, and 16 for a CIFAR network that is not -BC (section 4.2).
        dropout_rate: dropout after every convolution but the stem's.
        classes: classifier outputs, or None for a network without one.
        input_shape: `(height, width, channels)`, of a signal `(length, channels)`, of a volume `(depth, height, width,
            channels)`: the network has as many dimensions. Sizes may be None.
        stem_pool: what follows the stem, unless that is CIFAR's: "max" (3x3/2 max-pool) or "blur" (3x3 max-pool, then a
            3x3/2 binomial filter, against aliasing).

    Raises:
        ValueError: names the argument, what was received and what is allowed.

    Examples:
        >>> kd.Architecture(blocks=(6, 12, 24, 16), growth_rate=32).stem_channels
        64
    """

    blocks: tuple[int, ...]
    growth_rate: int
    bottleneck: bool = True
    theta: float = 0.5
    stem: str = "imagenet"
    stem_channels: int | None = None
    dropout_rate: float = 0.0
    classes: int | None = 1000
    input_shape: InputShape = (224, 224, 3)
    stem_pool: str = "max"

    def __post_init__(self):
        if not isinstance(self.blocks, (tuple, list)) or not self.blocks or not all(map(_is_count, self.blocks)):
            raise ValueError(
                f"blocks must list at least one layer count, each a whole number >= 1. Received: blocks={self.blocks!r}"
            )
        object.__setattr__(self, "blocks", tuple(map(int, self.blocks)))
        check_count("growth_rate", self.growth_rate)
        check_theta(self.theta)
        object.__setattr__(self, "theta", float(self.theta))
        check_rate("dropout_rate", self.dropout_rate)
        if self.stem not in STEMS:
            raise ValueError(f'stem must be "imagenet", "deep" or "cifar". Received: stem={self.stem!r}')
        if self.stem_pool not in ("max", "blur"):
            raise ValueError(f'stem_pool must be "max" or "blur". Received: stem_pool={self.stem_pool!r}')
        if self.stem == "cifar" and self.stem_pool != "max":
            raise ValueError(f'stem_pool must be left out with stem="cifar". Received: stem_pool={self.stem_pool!r}')
        if self.stem_channels is None:
            wide = self.stem != "cifar" or (self.bottleneck and self.theta < 1)
            object.__setattr__(self, "stem_channels", 2 * self.growth_rate if wide else 16)
        check_count("stem_channels", self.stem_channels)
        if self.classes is not None:
            check_count("classes", self.classes)
        self._check_input_shape()
        self.stages  # noqa: B018 (finds a theta that leaves no channels)

    def _check_input_shape(self):
        shape = self.input_shape
        if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3, 4):
            raise ValueError(
                "input_shape must be (height, width, channels), of a signal (length, channels), of a volume (depth, "
                f"height, width, channels). Received: input_shape={shape!r}"
            )
        object.__setattr__(self, "input_shape", tuple(shape))
        if not _is_count(shape[-1]):
            raise ValueError(
                f"input_shape must end in the number of channels, a whole number >= 1. Received: input_shape={shape!r}"
            )
        if any(size is not None and (not _is_count(size) or size < self.stride) for size in shape[:-1]):
            raise ValueError(
                f"input_shape must be at least {by([self.stride] * self.rank)} {image_words(self.rank)[1]}, the "
                f"network's total stride (or None for any size). Received: input_shape={tuple(shape)}"
            )

    @classmethod
    def plan(
        cls,
        blocks: Sequence[int] | None = None,
        depth: int | None = None,
        *,
        stem: str | None = None,
        include_top: bool = True,
        classes: int = 1000,
        input_shape: InputShape | None = None,
        growth_rate: int = 12,
        **rest: Any,
    ) -> "Architecture":
        """The architecture that arguments of `DenseNet` ask for, with its defaults filled in."""
        if (blocks is None) == (depth is None):
            raise ValueError(f"Give either blocks or depth. Received: blocks={blocks!r}, depth={depth!r}")
        if include_top:  # None would stand for a network without classifier
            check_count("classes", classes)
        stem = stem or ("imagenet" if depth is None else "cifar")
        if input_shape is None:
            side = (32 if stem == "cifar" else 224) if include_top else None
            input_shape = (side, side, 3)
        layers: Any = blocks_from_depth(depth, rest.get("bottleneck", True)) if blocks is None else blocks
        return cls(
            blocks=layers,
            growth_rate=growth_rate,
            stem=stem,
            classes=classes if include_top else None,
            input_shape=input_shape,
            **rest,
        )

    @property
    def rank(self) -> int:
        """How many dimensions the input has but its channels: 1 of a signal, 2 of an image, 3 of a volume."""
        return len(self.input_shape) - 1

    @functools.cached_property
    def stride(self) -> int:
        """The network's total stride: 32 for four blocks behind an ImageNet stem, 4 for three behind the CIFAR one."""
        return (1 if self.stem == "cifar" else 4) * 2 ** (len(self.blocks) - 1)

    @functools.cached_property
    def stages(self) -> list[Stage]:
        """The network as a list of `Stage`, in the paper's order."""
        *size, image_channels = self.input_shape
        channels: Any = self.stem_channels
        found: list[Stage] = []

        def add(name, kind, before, after, layers=1, resize=lambda length: length):
            nonlocal size, channels
            size, channels = [None if length is None else resize(length) for length in size], after
            found.append(Stage(name, kind, before, after, layers, tuple(size)))

        if self.stem == "cifar":
            add("stem", "stem", image_channels, channels)
        else:
            add("stem", "stem", image_channels, channels, resize=lambda length: (length - 1) // 2 + 1)
            add("stem_pool", "pool", channels, channels, resize=lambda length: (length - 1) // 2 + 1)
        for index, layers in enumerate(self.blocks, 1):
            add(f"block{index}", "block", channels, channels + layers * self.growth_rate, layers)
            if index < len(self.blocks):
                kept = transition_channels(self.theta, channels)
                add(f"transition{index}", "transition", channels, kept, resize=lambda length: length // 2)
        add("head", "head", channels, channels)
        return found


def by(sizes):
    """Sizes as they are written: "7x7"."""
    return "x".join(map(str, sizes))


def sides(size, dimensions=2):
    """A size for each dimension, a tuple; one number stands for all of them."""
    return tuple(size) if isinstance(size, Iterable) else (size,) * dimensions


def image_words(rank):
    """What an input of so many dimensions is called, and what it is made of."""
    return {1: ("signal", "steps"), 2: ("image", "pixels"), 3: ("volume", "voxels")}[rank]


def stem_convolutions(stem, in_channels, out_channels):
    """The convolutions of a stem, a list of `StemConvolution`.

    Args:
        stem: a key of `STEMS`.
        in_channels: of the image.
        out_channels: of the stem; those before the last make half as many.
    """
    sizes = STEMS[stem]
    channels = [in_channels, *[max(1, out_channels // 2)] * (len(sizes) - 1), out_channels]
    suffixes = ["", *map(str, range(2, len(sizes) + 1))]
    strides = [1 if stem == "cifar" else 2, *[1] * (len(sizes) - 1)]
    return list(map(StemConvolution, suffixes, sizes, strides, channels[:-1], channels[1:]))


def blocks_from_depth(depth, bottleneck):
    """Splits a depth L into the paper's three equal blocks.

    Args:
        depth: L = 3n + 4 for plain layers, 6n + 4 with bottlenecks.
        bottleneck: whether every layer counts twice.

    Returns:
        `(n, n, n)`.

    Raises:
        ValueError: for a depth of another form; names the nearest valid ones.
    """
    step = 6 if bottleneck else 3
    layers, rest = divmod(depth - 4, step) if _is_count(depth) else (0, 1)
    if rest or layers < 1:
        near = ""
        if _is_count(depth):
            below = max(1, (depth - 4) // step) * step + 4
            near = f" The nearest are {below} and {below + step}."
        kind = "bottleneck layers" if bottleneck else "plain layers"
        raise ValueError(f"depth must be {step}n + 4, n >= 1, with {kind}. Received: depth={depth!r}.{near}")
    return (layers,) * 3


def transition_channels(theta, channels):
    """floor(theta * channels), the paper's compression; raises ValueError if nothing is left."""
    kept = int(theta * channels + 1e-9)  # 0.1 * 30 is 2.9999999999999996
    if kept < 1:
        raise ValueError(
            f"theta must leave at least one channel. Received: theta={theta!r}, which keeps 0 of {channels} channels"
        )
    return kept


def check_count(name, value):
    """Raises ValueError unless `value` is a whole number >= 1."""
    if not _is_count(value):
        raise ValueError(f"{name} must be a whole number >= 1. Received: {name}={value!r}")


def check_theta(theta):
    """Raises ValueError unless `theta` is in (0, 1]."""
    if not _is_number(theta) or not 0 < theta <= 1:
        raise ValueError(f"theta must be in (0, 1]. Received: theta={theta!r}")


def check_rate(name, value):
    """Raises ValueError unless `value` is in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1). Received: {name}={value!r}")


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_count(value):
    return hasattr(value, "__index__") and not isinstance(value, bool) and value >= 1
