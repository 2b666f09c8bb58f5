"""A whole search in a folder, and what the folder tells afterwards."""

import dataclasses
import math
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_densenet.architecture import Architecture, check_count
from keras_densenet.budget import Budget
from keras_densenet.compat.keras_tuner import role
from keras_densenet.data import Splits
from keras_densenet.data.sources import absolute, name_of
from keras_densenet.family import variant
from keras_densenet.search import report
from keras_densenet.search.algorithms import ALGORITHMS
from keras_densenet.search.front import along_the_front
from keras_densenet.search.hypermodel import OF_RECIPE, DenseNetHyperModel, constructor_call, scaled
from keras_densenet.search.progress import EpochBar, Watch
from keras_densenet.search.published import published
from keras_densenet.search.state import claim, read_json, write_json
from keras_densenet.search.tuner import Tuner, measure
from keras_densenet.training import Recipe
from keras_densenet.training.plan import write_plan
from keras_densenet.training.task import Task, told
from keras_densenet.types import Path

# Of the recipe, from the winner to its training; by the seed validation and test images are held out.
HANDED_OVER = (*OF_RECIPE, "batch_size", "augmentation", "normalise", "seed")
HALVING = {"hyperband": ("factor",), "asha": ("factor", "min_epochs")}  # what else an algorithm of rungs takes
LEARNED = ("loss", "gamma", "class_weights", "sampling", "monitor")  # where they are not the default, too


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


class Results:
    """What a search's folder holds.

    Args:
        folder: of the search, which may still run.

    Attributes:
        rows: of the trials, see `report.row`.
        cost: what the front is of besides the objective: what the search minimised, or "parameters".
        references: rows of the networks that were trained for comparison.

    Raises:
        ValueError: if it is not a search's folder, or one of its files is broken.

    Examples:
        >>> results = kd.search.Results("searches/a")
        >>> results.best()["parameters"] <= 10_000
        True
    """

    def __init__(self, folder: Path) -> None:
        self.folder = pathlib.Path(folder)
        if not (self.folder / "search.json").is_file():
            raise ValueError(f"{str(folder)!r} is not a search's folder: it has no search.json")
        self.settings, self._place = read_json(
            self.folder / "search.json", lambda state: (state["settings"], state.get("place") or {})
        )
        self.hypermodel = DenseNetHyperModel(**self.settings["space"], recipe=self.settings["recipe"])
        self.budget, self.objective = Budget(**self.settings["budget"]), self.settings["objective"]
        self.cost: str = self.settings.get("minimise") or "parameters"
        family = published(self.hypermodel, self.budget)
        self._published = {self._point(values): name for name, values in family.items()}
        files = sorted(self.folder.glob("trial_*/trial.json"))
        self.trials = {file.parent.name[6:]: read_json(file, Trial.from_state) for file in files}
        gone_on = {trial.hyperparameters.values.get("tuner/trial_id") for trial in self.trials.values()}
        self.rows = [self._row(trial, trial.trial_id in gone_on) for trial in self.trials.values()]
        self.references = [
            read_json(file, lambda state: state) for file in sorted(self.folder.glob("compared/*/figures.json"))
        ]

    def best(self, at: float | None = None) -> dict[str, Any]:
        """The best trial's row.

        Args:
            at: the most that it may have of `cost`. Default: any within the search's budget.

        Raises:
            ValueError: if no trial has completed, or none of so little cost.
        """
        ranked = report.ranked(self.rows, self.objective)
        if not ranked:
            raise ValueError(f"No trial of the search in {str(self.folder)!r} has completed")
        within = [row for row in ranked if at is None or row[self.cost] <= at]
        if not within:
            least = round(min(row[self.cost] for row in ranked), 2)
            raise ValueError(f"The cheapest trial has {least:,} {_spoken(self.cost)}. Received: at={at:,}")
        return within[0]

    def front(self) -> list[dict[str, Any]]:
        """The rows than which no other is at least as good and at most as costly in `cost`, the cheapest first."""
        return report.front(report.ranked(self.rows, self.objective), self.cost, self.objective)

    def point(self, row: Mapping[str, Any]) -> tuple[dict[str, Any], Recipe]:
        """The arguments of `DenseNet` and the `Recipe` of a row's trial."""
        values = self.trials[row["trial"]].hyperparameters.values
        return self.hypermodel.network(values), self.hypermodel.recipe_at(values)

    def write_csv(self) -> None:
        """Writes `results.csv`."""
        report.write_csv(self.folder / "results.csv", [*self.rows, *self.references])

    def write(self, at: float | None = None) -> str:
        """Writes `results.csv`, `pareto.png` and `best.json`, or of the best within a cost a file of its own.

        Args:
            at: as for `best`.

        Returns:
            The line of Python that builds the best.
        """
        best = self.best(at)
        self.write_csv()
        family = report.family_costs(self.hypermodel.input_shape, self.hypermodel.classes, self.budget)
        title, minimised = name_of(self.settings["data"]["name"]), self.settings.get("minimise")
        report.draw(self.folder / "pareto.png", self.rows, self.references, family, title, self.objective, minimised)
        network, recipe = self.point(best)
        call, changes = constructor_call(network), {name: getattr(recipe, name) for name in HANDED_OVER}
        learned = {name: getattr(recipe, name) for name in LEARNED}
        changes |= {name: value for name, value in learned.items() if value != getattr(Recipe(), name)}
        figures = {name: best[name] for name in (*report.measured(self.objective), "parameters", "macs")}
        if best["warm_start"] is not None:
            figures["warm_start"] = best["warm_start"]
        others = {"call": call, "trial": best["trial"], "figures": figures, "data": self._data()}
        others["budget"] = dataclasses.asdict(self.budget)
        write_plan(self._plan(at), network, changes, **others)
        return call

    def command(self, at: float | None = None) -> str:
        """The command of a shell that trains the best fully on the search's data, by the file of `write`.

        Args:
            at: as for `best`.
        """
        plan = self._plan(at)
        return shlex.join(["keras-densenet", "train", "--model", str(plan), "--out", f"runs/{plan.stem}"])

    def show(self, console: rich.console.Console, limit: int | None = None) -> None:
        """Prints the trials, at most `limit` of them, and what was written.

        Args:
            console: a `rich.console.Console`.
            limit: of lines.
        """
        call = self.write()
        console.print(report.table(self.rows, limit, self.objective, self.cost))
        spread, name = report.measured(self.objective)[1], self.objective.removeprefix("val_")
        for row in self.references:
            figures = f"validation {told(name, row[self.objective])}, test {told(name, row[f'test_{name}'])}"
            if row[spread] is not None:
                figures += f"; validation spread {told(name, row[spread])}"
            console.print(f"{row['trial']}: {row['parameters']:,} parameters, {figures}", highlight=False)
        states = [row["status"] for row in self.rows]
        count = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
        front = f"{name.replace('_', ' ')} and {_spoken(self.cost)}"
        console.print(f"{count}; * on the Pareto front of {front}", highlight=False)
        if first := [f"{row['published']} (trial {row['trial']})" for row in self.rows if row["published"]]:
            console.print(f"published networks, scaled into space and budget: {', '.join(first)}", highlight=False)
        if warm := [
            row["trial"] for row in self.rows if row["warm_start"] is not None and row["status"] != "continued"
        ]:
            flattered = f"begun with weights of another trial, which flatters them: {', '.join(warm)}"
            console.print(f"{flattered}; --confirm trains the best from scratch", highlight=False, soft_wrap=True)
        console.print(f"results.csv, pareto.png and best.json are in {self.folder}", highlight=False)
        console.print(f"{call}\n{self.command()}", highlight=False, markup=False, soft_wrap=True)

    def _data(self):
        """What the data is and where, for a training in any working directory."""
        data = {**self.settings["data"], "data_dir": self._place.get("data_dir")}
        found = {name: data[name] for name in ("name", "data_dir") if data[name] is not None}
        return {**data, **{name: absolute(value, self._place.get("directory", "")) for name, value in found.items()}}

    def _plan(self, at):
        return self.folder / ("best.json" if at is None else f"best-at-{str(at).removesuffix('.0')}.json")

    def _point(self, values):
        """What tells a point from another, also where a number came from another process as a float32."""
        return repr((self.hypermodel.network(values), self.hypermodel.recipe_at(values)))

    def _row(self, trial, gone_on):
        values = trial.hyperparameters.values
        network, recipe = self.hypermodel.network(values), self.hypermodel.recipe_at(values)
        figures = {name: history.get_last_value() for name, history in trial.metrics.metrics.items()}
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        until = values.get("tuner/epochs", recipe.epochs)
        stopped = trial.status == TrialStatus.COMPLETED and until < recipe.epochs
        status = "continued" if gone_on else "stopped" if stopped else trial.status
        row = report.row(trial.trial_id, status, network, recipe, figures, self.budget, self.objective)
        return {
            **row,
            "published": self._published.get(self._point(values)),
            "warm_start": values.get("tuner/warm_start"),
        }


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


def _spoken(cost):
    return cost.replace("_", " ").replace("macs", "MACs")


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
