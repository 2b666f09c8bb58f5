"""A network as the paper's table 1."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from keras_densenet.architecture import STEMS, by
from keras_densenet.cost import Network, architecture_of, cost
from keras_densenet.types import InputShape


class StageRow(NamedTuple):
    """One row of the paper's table 1; `size` (in pixels) and MACs are of one image, `share` of the time is None if
    not measured.

    Examples:
        >>> kd.explain.describe("densenet121")[0].layers
        '7x7 conv, stride 2'
    """

    name: str
    size: tuple[int | None, ...]
    layers: str
    in_channels: int
    out_channels: int
    parameters: int
    macs: int
    share: float | None = None


def describe(
    network: Network, input_shape: InputShape | None = None, seconds: Sequence[float] | None = None
) -> list[StageRow]:
    """Describes a network stage by stage.

    Args:
        network: what `cost` takes: a name, a dict of `DenseNet` arguments, an `Architecture`, or a `DenseNetModel`.
        input_shape: `(height, width, channels)` of the image, for another than the network's own.
        seconds: of each stage, from `stage_seconds`; None leaves `share` out.

    Returns:
        A list with a `StageRow` for each row of the paper's table 1; what it leaves out, the normalisation before the
        classifier, is "head".

    Raises:
        ValueError: for an unknown name, or an image of unknown size.

    Examples:
        >>> for row in kd.explain.describe("densenet121")[:3]:
        ...     print(row.name, row.size, row.layers, row.out_channels)
        stem (112, 112) 7x7 conv, stride 2 64
        stem_pool (56, 56) 3x3 max pool 64
        block1 (56, 56) 6 x (1x1, 3x3 conv) 256

    Source: the paper, table 1.
    """
    plan = architecture_of(network)
    if input_shape is not None:
        plan = dataclasses.replace(plan, input_shape=input_shape)
    found, rows = cost(plan), []
    found.macs  # noqa: B018 (refuses an unknown size)
    for index, part in enumerate(found.stages):
        stage = part.stage
        channels = stage.in_channels, stage.out_channels
        share = None if seconds is None else seconds[index] / sum(seconds)
        layers = _layers(stage, plan)
        rows.append(StageRow(stage.name, stage.size, layers, *channels, part.trainable_parameters, part.macs, share))
    return rows


def _layers(stage, plan):
    def of(size):
        return by([size] * plan.rank)

    if stage.kind == "stem":
        sizes = ", ".join(map(of, STEMS[plan.stem]))
        return f"{sizes} conv{'' if plan.stem == 'cifar' else ', stride 2'}"
    if stage.kind == "pool":
        return f"{of(3)} max pool{', blur' * (plan.stem_pool == 'blur')}"
    if stage.kind == "block":
        return f"{stage.layers} x ({f'{of(1)}, ' * plan.bottleneck}{of(3)} conv)"
    if stage.kind == "transition":
        return f"{of(1)} conv, avg pool"
    return {"head": "BN, ReLU", "classifier": "avg pool, dense"}[stage.kind]
