"""A whole search in a folder, and what the folder tells afterwards."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import rich.console

from keras_densenet.architecture import Architecture, check_count
from keras_densenet.budget import Budget
from keras_densenet.compat.keras_tuner import role
from keras_densenet.data import Splits
from keras_densenet.family import variant
from keras_densenet.search import report
from keras_densenet.search.algorithms import ALGORITHMS
from keras_densenet.search.front import along_the_front
from keras_densenet.search.hypermodel import DenseNetHyperModel, scaled
from keras_densenet.search.progress import EpochBar, Watch
from keras_densenet.search.results import Results
from keras_densenet.search.state import claim, write_json
from keras_densenet.search.tuner import Tuner, measure
from keras_densenet.training.task import Task
from keras_densenet.types import Path

# Of the recipe, from the winner to its training; by the seed validation and test images are held out.
HALVING = {"hyperband": ("factor",), "asha": ("factor", "min_epochs")}  # what else an algorithm of rungs takes


def search(
    folder: Path,
    hypermodel: DenseNetHyperModel,
    budget: Budget,
    splits: Splits,
    data: dict[str, Any],
    *,
    algorithm: str = "bayesian",
    trials: int | None = 20,
    executions: int = 1,
    objective: str | None = None,
    minimise: str | None = None,
    seed: int = 1,
    factor: int | None = None,
    min_epochs: int | None = None,
    warm_start: bool = False,
    overwrite: bool = False,
    compare: Sequence[str] = (),
    confirm: int = 0,
    console: rich.console.Console | None = None,
    **options: Any,
) -> "Results | None":
    """Searches, or goes on with the search that `folder` holds.

    `KERASTUNER_ORACLE_IP`, `KERASTUNER_ORACLE_PORT` and `KERASTUNER_TUNER_ID` in the environment make this process the
    chief or a worker of a search of many processes; all see the same folder.

    Args:
        folder: that gets `search.json`, the trials with a run's folder each, `results.csv`, `pareto.png`, `best.json`.
        hypermodel: a `DenseNetHyperModel`; its recipe is that of each trial.
        budget: a `Budget`.
        splits: the data, `Splits`.
        data: what the data is, a dict for JSON; "name" is its name. If `data.load` knows it by that name,
            `train --model best.json` trains on it, with "data_dir" and "skip_bad" if they are here.
        algorithm: one of `ALGORITHMS`.
        trials: how many; for "asha" networks that begin, for "hyperband" each rung that a network is trained to is one.
            None: all that "grid" and "hyperband" have.
        executions: seeds that each point is trained with.
        objective: what to search for, of the last epoch, as a recipe's `monitor`. Default: that of the hypermodel's
            recipe, which by default is val_accuracy for one class and val_auroc for many labels.
        minimise: a cost, to search along the Pareto front of the objective and it: "parameters", "macs",
            "activation_bytes" or, measured for one image with each trial's network, "milliseconds". Default: only the
            objective counts.
        seed: of the points.
        factor: of "asha" and "hyperband": one network in so many goes on to the next rung, which has so many times the
            epochs. Default: 3.
        min_epochs: of "asha": the first rung. Default: 1.
        warm_start: whether a network begins with weights of the completed one that has most of its tensors, at least a
            quarter of its parameters. What is compared, and the best that is confirmed, never do.
        overwrite: whether to delete a former search in the folder first.
        compare: names of published networks to train for comparison, with the recipe as it is and the largest growth
            rate that the budget allows.
        confirm: seeds, other than those of the trials, with which the best (with `minimise` the whole front) and the
            compared networks are trained in the end: what was chosen for its accuracy has been lucky, too. 0: the best
            is not, the others with one.
        console: a `rich.console.Console`. Default: one that says nothing.
        **options: of `Tuner`.

    Returns:
        The results, `Results`; None in a worker.

    Raises:
        ValueError: for an argument out of range, if nothing fits the budget, or the folder holds something else.
        RuntimeError: if no trial completed.

    Examples:
        >>> recipe = kd.training.Recipe(epochs=1, batch_size=8, xla=False)
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1", growth_rate=4, recipe=recipe)
        >>> budget, data = kd.search.Budget(max_parameters=10_000), {"name": "photos"}
        >>> results = kd.search.search("searches/a", hypermodel, budget, splits, data, algorithm="random", trials=1)
        >>> len(results.rows)
        1
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}. Received: algorithm={algorithm!r}")
    if trials is None and algorithm not in ("grid", "hyperband"):
        raise ValueError(f"{algorithm} needs a number of trials; only grid and hyperband have an end of their own")
    for name, count in (("trials", 1 if trials is None else trials), ("executions", executions)):
        check_count(name, count)
    console = console or rich.console.Console(quiet=True)
    hypermodel, objective = _searching_for(objective, hypermodel, splits)
    compared = {name: _member(name, hypermodel, budget) for name in compare}
    place = {"directory": os.getcwd(), "data_dir": data.get("data_dir")}
    data = {name: value for name, value in data.items() if name != "data_dir"}  # other machines have another one
    settings: dict[str, Any] = {"space": hypermodel.space(), "budget": dataclasses.asdict(budget), "data": data}
    settings |= {"recipe": dataclasses.asdict(hypermodel.recipe), "algorithm": algorithm, "executions": executions}
    settings |= {"objective": objective, "seed": seed}
    if minimise is not None:
        settings["minimise"] = minimise
    halving = {name: value for name, value in (("factor", factor), ("min_epochs", min_epochs)) if value is not None}
    if strange := halving.keys() - HALVING.get(algorithm, ()):
        name = sorted(strange)[0]
        takes = " or ".join(f"algorithm={other!r}" for other in HALVING if name in HALVING[other])
        raise ValueError(f"{name} must come with {takes}. Received: algorithm={algorithm!r}")
    settings |= halving | ({"warm_start": True} if warm_start else {})
    specific = {**halving, "max_epochs": hypermodel.recipe.epochs} if algorithm in HALVING else {}
    kind, timed = along_the_front(ALGORITHMS[algorithm], minimise), minimise == report.MEASURED
    oracle = kind(hypermodel, budget, objective, max_trials=trials, seed=seed, warm_start=warm_start, **specific)
    options = {"executions": executions, "timed": timed, "folder": folder, "settings": settings, **options}
    if role() == "worker":
        Tuner(oracle, hypermodel, splits, data["name"], **options).search()
        return None
    with claim(folder, settings, overwrite, place):
        console.print(f"{oracle.share}", highlight=False)
        Watch(oracle, console, lambda: Results(folder).write_csv())
        tuner = Tuner(oracle, hypermodel, splits, data["name"], callbacks=[EpochBar(console)], **options)
        try:
            tuner.search()
        finally:
            if oracle.ending:
                console.print(f"the search ended early: {oracle.ending}", highlight=False)
        _confirm(Results(folder), compared, splits, executions, confirm, console)
        results = Results(folder)
        results.write()
    return results


def _confirm(results, compared, splits, executions, confirm, console):
    """Trains the compared networks, and with `confirm` the best one, with seeds that no trial had; keeps their rows."""
    fresh = dataclasses.replace(results.hypermodel.recipe, seed=results.hypermodel.recipe.seed + executions)
    todo = {name: (network, fresh) for name, network in compared.items()}
    chosen = {"best": [results.best()], "front": results.front() if "minimise" in results.settings else []}
    for place, row in [(place, row) for place, rows in chosen.items() for row in rows] if confirm else []:
        if place == "best" or row not in chosen["best"]:
            network, recipe = results.point(row)
            todo[f"{place}, trial {row['trial']}"] = network, dataclasses.replace(recipe, seed=fresh.seed)
    seeds = max(1, confirm)
    for name, (network, recipe) in todo.items():
        folder, title = results.folder / "compared" / name, f"{name}, k={network['growth_rate']}"
        if (folder / "figures.json").is_file() and len([*folder.glob("run*")]) >= seeds:
            continue
        console.print(f"with {seeds} new seed{'s' * (seeds > 1)}: {title}", highlight=False)
        timed = results.cost == report.MEASURED
        figures = measure(network, recipe, splits, results.settings["data"]["name"], folder, seeds, timed=timed)
        row = report.row(title, "COMPARED", network, recipe, figures, results.budget, results.objective)
        write_json(folder / "figures.json", row)


def _searching_for(objective, hypermodel, splits):
    """The hypermodel whose recipe monitors the objective, and the objective's name."""
    recipe = dataclasses.replace(hypermodel.recipe, monitor=objective or hypermodel.recipe.monitor)
    objective, default = (
        Task.of_data(splits, each).monitor for each in (recipe, dataclasses.replace(recipe, monitor=None))
    )
    recipe = dataclasses.replace(recipe, monitor=None if objective == default else objective)
    if recipe != hypermodel.recipe:
        hypermodel = type(hypermodel)(**{**hypermodel.get_config(), "recipe": recipe})
    return hypermodel, objective


def _member(name, hypermodel, budget):
    """A published network for the images of a search, as large as a budget allows."""
    network = {**variant(name), "input_shape": hypermodel.input_shape, "classes": hypermodel.classes}
    return dataclasses.asdict(Architecture.plan(**scaled(network, budget.fits)))
