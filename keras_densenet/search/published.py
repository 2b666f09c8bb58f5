"""The published family as points of a space: what is known before anything was trained."""

from typing import Any

import keras_tuner
import numpy as np

from keras_densenet.architecture import Architecture
from keras_densenet.budget import Budget
from keras_densenet.family import VARIANTS
from keras_densenet.search.hypermodel import OF_RECIPE, DenseNetHyperModel

SHARES = np.linspace(1, 0.1, 10)  # of a network's layers, where the least growth rate does not fit


def published(hypermodel: DenseNetHyperModel, budget: Budget) -> dict[str, dict[str, Any]]:
    """The published networks, moved to the nearest points of a space and scaled into a budget.

    Growth rate shrinks as far as it must, and where the space has none that is small enough, the blocks do. Networks of
    another number of blocks are left out, and where several become the same point, the first gives its name to it.

    Args:
        hypermodel: the space; its recipe's learning rate, weight decay and dropout are the points'.
        budget: a `Budget`.

    Returns:
        For each name the values of the hyperparameters, a dict.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((32, 32, 3), 10, blocks="2:8 2:8 2:8", growth_rate=(4, 24, 2))
        >>> points = kd.search.published(hypermodel, kd.search.Budget(max_parameters=100_000))
        >>> points["densenet-bc-40-12"]["block1"], points["densenet-bc-40-12"]["growth_rate"]
        (6, 8)
    """
    space = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(space)
    found: dict[str, dict[str, Any]] = {}
    for name, network in VARIANTS.items():
        plan = Architecture.plan(**network)
        if len(plan.blocks) == len(hypermodel.blocks):
            point = _scaled(plan, hypermodel, space.space, budget)
            if point is not None and point not in found.values():
                found[name] = point
    return found


def _scaled(plan, hypermodel, space, budget):
    """The largest of a network's shape that fits, as a dict by hyperparameter; None if there is none."""
    growth_rates = next((hp.values for hp in space if hp.name == "growth_rate"), [plan.growth_rate])
    least = min(growth_rates)
    smaller = sorted({rate for rate in growth_rates if rate <= plan.growth_rate} | {least}, reverse=True)
    for share, growth_rate in [*((1, rate) for rate in smaller), *((share, least) for share in SHARES[1:])]:
        wanted = _wanted(plan, hypermodel.recipe, share, growth_rate)
        values = {hp.name: _nearest(hp, wanted[hp.name]) for hp in space}
        if budget.fits(hypermodel.network(values)):
            return values
    return None


def _wanted(plan, recipe, share, growth_rate):
    """What a point would be, were everything in the space."""
    stem_channels = 2 * growth_rate if plan.stem_channels == 2 * plan.growth_rate else plan.stem_channels
    found = {"growth_rate": growth_rate, "stem_channels": stem_channels, "theta": plan.theta}
    found |= {f"block{number}": share * layers for number, layers in enumerate(plan.blocks, 1)}
    found |= {"layers": share * sum(plan.blocks) / len(plan.blocks), "bottleneck": plan.bottleneck}
    return {**found, **{name: getattr(recipe, name) for name in OF_RECIPE}, "dropout_rate": recipe.dropout}


def _nearest(hp, value):
    if hasattr(hp, "min_value"):
        return min(max(float(value), hp.min_value), hp.max_value)
    return min(hp.values, key=lambda choice: abs(choice - value))
