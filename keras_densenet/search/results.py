"""What a search found: its rows, the best of them, and the files that say so."""

import dataclasses
import math
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

import rich.console
from keras_tuner.engine.trial import Trial, TrialStatus

from keras_densenet.budget import Budget
from keras_densenet.data.sources import absolute, name_of
from keras_densenet.files import write_table
from keras_densenet.search import report
from keras_densenet.search.hypermodel import OF_RECIPE, DenseNetHyperModel, constructor_call
from keras_densenet.search.published import published
from keras_densenet.search.state import read_json
from keras_densenet.training import Recipe
from keras_densenet.training.plan import write_plan
from keras_densenet.training.task import told
from keras_densenet.types import Path

HANDED_OVER = (*OF_RECIPE, "batch_size", "augmentation", "normalise", "seed")
LEARNED = ("loss", "gamma", "class_weights", "sampling", "monitor")  # where they are not the default, too


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
        write_table(self.folder / "results.csv", [*self.rows, *self.references])

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


def _spoken(cost):
    return cost.replace("_", " ").replace("macs", "MACs")
