"""Which features every layer reads: the paper's figure 5 for a trained network."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_densenet import layers
from keras_densenet.layers.folded import Folded
from keras_densenet.models.flat import flat, stages
from keras_densenet.types import Array


@dataclasses.dataclass(frozen=True)
class BlockReuse:
    """By which weights the layers behind x_0, x_1, ... of one dense block read them.

    Args:
        name: of the block.
        weights: float64 `(readers, sources)`; NaN where the source comes after the reader.
        readers: names: "layer1", ..., and last `reader`.
        sources: names: "input" (x_0: what the stem or transition before the block gives), "layer1", ...
        reader: the name of the transition or classifier that reads the whole block, None where there is none.

    Examples:
        >>> block = kd.feature_reuse(model)[0]
        >>> block.sources, block.reader
        (('input', 'layer1'), 'transition1')
    """

    name: str
    weights: np.ndarray
    readers: tuple[str, ...]
    sources: tuple[str, ...]
    reader: str | None

    @property
    def relative(self) -> Array:
        """The weights of every reader in units of its largest: 0..1, as they are drawn."""
        return self.weights / np.nanmax(self.weights, 1, keepdims=True)


def feature_reuse(model: keras.Model, scaled: bool = False) -> list[BlockReuse]:
    """Computes the mean absolute weight by which every layer of a dense block reads every source before it.

    The entry of reader l and source s is the mean of |w| over those weights of l's kernel that belong to the channels
    of s: the L1 norm over all their pixels and filters, by the number of pixels, filters and input feature maps of s.
    A layer's kernel is the first that reads the features, with a bottleneck the 1x1 one; the transition's is its 1x1
    one, the classifier's its dense one. All are weights of normalised features, and so comparable within a reader.

    Args:
        model: a `keras.Model` with a DenseNet of this package that is not folded.
        scaled: False for the kernels alone, as in the paper. True multiplies them by |gamma| of the normalisation
            before them, which a network may use to the same end: the weight of a feature of variance 1.

    Returns:
        A list with a `BlockReuse` for each dense block.

    Raises:
        ValueError: for a model without dense blocks, or a folded one, whose kernels are no longer the trained ones.

    Examples:
        >>> for block in kd.feature_reuse(model):
        ...     print(block.name, block.readers, block.weights.shape)
        block1 ('layer1', 'transition1') (2, 2)
        block2 ('layer1', 'classifier') (2, 2)

    Source: the paper, section 5, "Feature Reuse".
    """
    network = flat(model)
    if folded := stages(network, Folded):
        raise ValueError(
            "feature_reuse takes the network before keras_densenet.fold, which multiplies normalisations into the "
            f"kernels. Received: {model.name!r}, whose layer {folded[0].name!r} is folded"
        )
    chain = stages(network, (layers.DenseBlock, layers.Transition, layers.Head))
    behind = dict(itertools.pairwise(chain))
    return [
        _block(block, _reader(behind.get(block), network), scaled)
        for block in chain
        if isinstance(block, layers.DenseBlock)
    ]


def observations(blocks: Sequence[BlockReuse]) -> list[dict[str, Any]]:
    """The paper's observations about its figure 5 as numbers, for each block.

    Args:
        blocks: what `feature_reuse` gave.

    Returns:
        A list of dicts: `block`; `spread`, over how many of its sources a layer spreads its weight, mean over the
        layers, 1 if evenly over all (the exponential of the entropy of its shares, by the number of sources);
        `input_least`, the share of the layers that give x_0 the least weight, and `input_chance`, that share if each
        source had the same chance; `input_weight`, the weight of x_0 by the mean of the other sources', mean over the
        layers; and of the whole block's reader: `reader`, its name, `reader_spread`, and `reader_late`, the mean weight
        of the last third of the sources by that of the first third. None where there is nothing to measure.

    Examples:
        >>> [found["reader"] for found in kd.explain.observations(kd.feature_reuse(model))]
        ['transition1', 'classifier']
    """
    return [_observed(block) for block in blocks]


def _block(block, reader, scaled):
    starts = np.cumsum([0, block.h[0][0].shape[0], *[block.growth_rate] * (block.num_layers - 1)])
    rows = [(f"layer{index}", gamma, kernel) for index, (gamma, _, kernel, *_) in enumerate(block.h, 1)]
    rows += [reader] if reader else []
    sources = ("input", *(f"layer{index}" for index in range(1, block.num_layers + 1)))
    weights = np.full((len(rows), len(sources)), np.nan)
    for row, (_, gamma, kernel) in zip(weights, rows, strict=True):
        values = np.abs(np.asarray(kernel.numpy(), "float64"))
        values = values.mean(tuple(axis for axis in range(values.ndim) if axis != values.ndim - 2))
        values *= np.abs(gamma.numpy()) if scaled else 1
        parts = np.split(values, starts[(starts > 0) & (starts < len(values))])
        row[: len(parts)] = [part.mean() for part in parts]
    if not reader:  # nobody reads the last layer
        weights, sources = weights[:, :-1], sources[:-1]
    names = tuple(name for name, _, _ in rows)
    return BlockReuse(block.name, weights, names, sources, names[-1] if reader else None)


def _reader(layer, network):
    """The name, gamma and kernel of who reads a whole block, its transition or the classifier; None without one."""
    if isinstance(layer, layers.Transition):
        return layer.name, layer.norm.gamma, layer.kernel
    if isinstance(layer, layers.Head):
        channels = layer.norm.gamma.shape[0]
        for dense in network.layers[network.layers.index(layer) :]:
            if isinstance(dense, keras.layers.Dense):
                return (dense.name, layer.norm.gamma, dense.kernel) if dense.kernel.shape[0] == channels else None
    return None


def _observed(block):
    rows = [row[~np.isnan(row)] for row in block.weights]
    own = rows[1:-1] if block.reader else rows[1:]  # the first layer has no choice
    found = {
        "block": block.name,
        "spread": _mean(map(_spread, own)),
        "input_least": _mean(row.argmin() == 0 for row in own),
        "input_chance": _mean(1 / len(row) for row in own),
        "input_weight": _mean(row[0] / row[1:].mean() for row in own),
    }
    if not block.reader:
        return {**found, "reader": None, "reader_spread": None, "reader_late": None}
    last, third = rows[-1], max(1, len(rows[-1]) // 3)
    late = last[-third:].mean() / last[:third].mean()
    return {**found, "reader": block.reader, "reader_spread": _spread(last), "reader_late": float(late)}


def _spread(weights):
    shares = weights / weights.sum()
    entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1)))
    return float(np.exp(entropy) / len(weights))


def _mean(values):
    values = list(values)
    return float(np.mean(values)) if values else None
