"""Points of a space from Optuna, with whatever sampler and pruner a study has."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_densenet.budget import Budget
from keras_densenet.search.hypermodel import DenseNetHyperModel
from keras_densenet.training import Recipe

if TYPE_CHECKING:
    import optuna


def suggest(
    trial: "optuna.trial.BaseTrial", space: DenseNetHyperModel, budget: Budget | None = None
) -> tuple[dict[str, Any], Recipe]:
    """A network and a recipe from an Optuna trial.

    The trial gets the network's parameters, macs and activation_bytes as user attributes, for studies of several
    objectives. Nothing is built: a point that exceeds the budget is pruned at once, and a sampler learns from it. The
    parameters' names are the hyperparameters' of KerasTuner, so that `study.enqueue_trial` takes the points of
    `published`.

    Args:
        trial: of `study.optimize` or `study.ask`.
        space: a `DenseNetHyperModel`.
        budget: a `Budget`. Default: no limits.

    Returns:
        A dict of `DenseNet` arguments, also for `measure`, and the `Recipe` to train it with.

    Raises:
        optuna.TrialPruned: if the network exceeds the budget, or is none, for the images are too small.

    Examples:
        >>> import optuna
        >>> space = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        >>> network, recipe = kd.search.suggest(trial, space, kd.search.Budget(max_parameters=100_000))
        >>> kd.DenseNet(**network).count_params() < 100_000
        True
    """
    import optuna

    values = space.declare_hyperparameters(_Declared(trial))
    network, budget = space.network(values), budget or Budget()
    try:
        figures, excess = budget.figures(network), budget.excess(network)
    except ValueError as error:
        raise optuna.TrialPruned(str(error)) from None
    for name, figure in figures.items():
        trial.set_user_attr(name, figure)
    if excess:
        raise optuna.TrialPruned(f"The network has {excess}")
    return network, space.recipe_at(values)


class _Declared:
    """A trial of Optuna as far as `space.declare` knows KerasTuner's `HyperParameters`."""

    def __init__(self, trial):
        self.trial = trial

    def Float(self, name, low, high, sampling):
        return self.trial.suggest_float(name, low, high, log=sampling == "log")

    def Choice(self, name, values):
        """One of some numbers: those of a range keep their order for samplers, which know none of categories."""
        steps = np.diff(values)
        if len(values) < 3 or steps[0] <= 0 or not np.allclose(steps, steps[0]):
            return self.trial.suggest_categorical(name, values)
        kind = self.trial.suggest_int if isinstance(values[0], int) else self.trial.suggest_float
        found = kind(name, values[0], values[-1], step=round(values[1] - values[0], 10))
        return min(values, key=lambda value: abs(value - found))
