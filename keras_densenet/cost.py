"""What a DenseNet costs, in closed form, without building it."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol

from keras_densenet.architecture import Architecture, Stage, check_count, stem_convolutions
from keras_densenet.family import variant
from keras_densenet.types import InputShape


class Planned(Protocol):
    """What has an `Architecture`: a `DenseNetModel`."""

    @property
    def architecture(self) -> Architecture: ...


Network = str | Mapping[str, Any] | Architecture | Planned
"""A name, arguments of `DenseNet`, its plan, or a built one."""

# Arguments of DenseNet, and those of them that cost nothing.
_FREE = {"weights", "input_tensor", "pooling", "classifier_activation", "name", "prefix", "dtype"}
_ARGUMENTS = _FREE | {"depth", "include_top"} | {field.name for field in dataclasses.fields(Architecture)}
_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclasses.dataclass(frozen=True)
class StageCost:
    """The share of one `Stage`: parameters, MACs of one image, and numbers per image kept for the backward pass."""

    stage: Stage
    trainable_parameters: int
    macs: int
    macs_executed: int
    kept: int
    live: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a network.

    Attributes:
        trainable_parameters: weights that the optimizer updates.
        macs: multiply-accumulates of one image through the published graph (the transition's convolution before its
            pool), convolutions and classifier only.
        macs_executed: the same for the graph that runs (pool first; the published order where there is dropout).
        stages: a `StageCost` for each row of the paper's table 1, classifier last.

    Examples:
        >>> kd.cost("densenet-bc-100-12").trainable_parameters
        769162
    """

    stages: tuple[StageCost, ...]
    input_values: int | None

    @property
    def trainable_parameters(self) -> int:
        return sum(stage.trainable_parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        return self._sized("macs")

    @property
    def macs_executed(self) -> int:
        return self._sized("macs_executed")

    def activation_bytes(self, batch_size: int, training: bool, dtype: str = "float32") -> int:
        """Bytes of activations.

        Args:
            batch_size: images.
            training: True for what is kept for the backward pass: the images, the stem's convolutions and what they
                read, every block's features and bottlenecks. False for the most that is alive at once in inference: a
                stage's input, its inner tensors and its output.
            dtype: of the activations: "float16", "bfloat16", "float32" or "float64".

        Returns:
            Bytes, an int.

        Raises:
            ValueError: for an unknown dtype, or an image of unknown size.
        """
        if dtype not in _BYTES:
            raise ValueError(f"dtype must be one of {', '.join(_BYTES)}. Received: dtype={dtype!r}")
        check_count("batch_size", batch_size)
        name = "activation_bytes"
        values = self._each("kept", name) if training else self._each("live", name)
        values = self.input_values + sum(values) if training else max(values)
        return batch_size * _BYTES[dtype] * values

    def training_bytes(self, batch_size: int, dtype: str = "float32", copies: int = 3) -> int:
        """Bytes that a training step compiled by XLA needs: of the family's networks within a tenth of what XLA tells.

        It is up to a third too little for very small ones, and more for a single block. What is counted are the
        activations that are kept, those that are alive where most are, and the weights' copies.

        Args:
            batch_size: images.
            dtype: of the activations, as in `activation_bytes`.
            copies: float32 numbers for each weight: itself, its gradient and the optimizer's momentum.

        Returns:
            Bytes, an int.
        """
        activations = [self.activation_bytes(batch_size, training, dtype) for training in (True, False)]
        return sum(activations) + 4 * copies * self.trainable_parameters

    def _sized(self, name):
        return sum(self._each(name))

    def _each(self, name, figure=None):
        if self.input_values is None:
            raise ValueError(
                f"{figure or name} depends on the image size, which is unknown: give cost an input_shape=... "
                "(--image-size)"
            )
        return [getattr(stage, name) for stage in self.stages]


def cost(network: Network, input_shape: InputShape | None = None) -> Cost:
    """Computes what a network costs, in well under a millisecond.

    Args:
        network: a name from `list_models()`, a dict of `DenseNet` arguments, an `Architecture`, or a built
            `DenseNetModel`.
        input_shape: `(height, width, channels)` of the image, or that of a signal or volume, to count for another than
            the network's own.

    Returns:
        A `Cost`.

    Raises:
        ValueError: for an unknown name or an invalid argument.
        TypeError: for anything else.

    Examples:
        >>> kd.cost("densenet121").macs
        2834161664
    """
    plan = architecture_of(network)
    if input_shape is not None:
        plan = dataclasses.replace(plan, input_shape=input_shape)
    *size, channels = plan.input_shape
    found, before = [], _pixels(size)
    for stage in plan.stages:
        after = _pixels(stage.size)
        found.append(StageCost(stage, *_COSTS[stage.kind](stage, plan, before or 0, after or 0)))
        before = after
    if plan.classes:
        stage = Stage("classifier", "classifier", found[-1].stage.out_channels, plan.classes, 1, (1,) * plan.rank)
        products = stage.in_channels * plan.classes
        found.append(StageCost(stage, products + plan.classes, products, products, 0, stage.in_channels + plan.classes))
    image = _pixels(size)
    return Cost(tuple(found), image and image * channels)


def _pixels(size):
    return None if None in size else math.prod(size)


def architecture_of(network: Network) -> Architecture:
    """The `Architecture` of whatever `cost` takes."""
    if isinstance(network, str):
        network = variant(network)
    if isinstance(network, dict):
        if unknown := network.keys() - _ARGUMENTS:
            raise ValueError(f"cost takes the arguments of DenseNet. Received: {', '.join(sorted(unknown))}")
        if network.get("input_tensor") is not None:
            network = {**network, "input_shape": tuple(network["input_tensor"].shape[1:])}
        return Architecture.plan(**{k: v for k, v in network.items() if k not in _FREE})
    plan = network if isinstance(network, Architecture) else getattr(network, "architecture", None)
    if not isinstance(plan, Architecture):
        raise TypeError(
            "cost takes a name, a dict of DenseNet arguments, an Architecture or a DenseNet model. "
            f"Received: {network!r} of type {type(network).__name__}"
        )
    return plan


# Each returns (trainable parameters, MACs, MACs executed, values kept for the backward pass, values alive at once)
# of a stage, where `p` pixels go in and `q` come out.


def _stem(stage, plan, p, q):
    convolutions = stem_convolutions(plan.stem, stage.in_channels, stage.out_channels)
    kernels = sum(c.size**plan.rank * c.in_channels * c.out_channels for c in convolutions)
    made = sum(c.out_channels for c in convolutions)
    live = p * stage.in_channels + q * made
    if plan.stem == "cifar":  # what the bare convolution makes is x_0 of the block
        return kernels, q * kernels, q * kernels, 0, live
    kept = q * (made + made - stage.out_channels)
    return kernels + 2 * made, q * kernels, q * kernels, kept, live


def _pool(stage, plan, p, q):
    inner = p if plan.stem_pool == "blur" else 0
    return 0, 0, 0, 0, (p + inner + q) * stage.out_channels


def _block(stage, plan, p, q):
    n, k = stage.layers, plan.growth_rate
    read = n * stage.in_channels + k * n * (n - 1) // 2  # channels that all layers together read
    width = 4 * k if plan.bottleneck else 0
    window = 3**plan.rank
    kernels = read * width + n * window * width * k if plan.bottleneck else window * read * k
    features = stage.out_channels
    parameters = kernels + 2 * read + 2 * n * width
    return parameters, q * kernels, q * kernels, q * (features + n * width), q * (features + width)


def _transition(stage, plan, p, q):
    before, after = stage.in_channels, stage.out_channels
    macs = p * before * after
    executed = macs if plan.dropout_rate else q * before * after
    return 2 * before + before * after, macs, executed, 0, p * before + q * (before + after)


def _head(stage, plan, p, q):
    return 2 * stage.in_channels, 0, 0, 0, 2 * q * stage.in_channels


_COSTS = {"stem": _stem, "pool": _pool, "block": _block, "transition": _transition, "head": _head}
