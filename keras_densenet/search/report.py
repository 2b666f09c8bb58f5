"""What a search has found: a table, a CSV file, Pareto fronts, the best network."""

import contextlib
import math

from keras_densenet.console import Table
from keras_densenet.family import VARIANTS
from keras_densenet.files import written_beside
from keras_densenet.pictures import lettering
from keras_densenet.search.hypermodel import OF_RECIPE
from keras_densenet.training.task import score, told

COSTS = {"parameters": "trainable parameters", "macs": "MACs of an image", "ms_per_step": "ms per training step"}
MEASURED = "milliseconds"  # of the costs that a search minimises the one that no closed form gives
MINIMISED = {
    "parameters": COSTS["parameters"],
    "macs": COSTS["macs"],
    "activation_bytes": "bytes of a batch's activations",
    MEASURED: "ms for an image",
}
ARCHITECTURE = ("blocks", "growth_rate", "bottleneck", "theta", "stem", "stem_channels", "dropout_rate")


def measured(objective):
    """Names of what is measured of a network in a search for an objective, the objective first."""
    name = objective.removeprefix("val_")
    figures = (objective, f"{name}_spread", "val_loss", f"best_{objective}", f"test_{name}")
    return (*dict.fromkeys(figures), "epochs", "ms_per_step", MEASURED, "peak_bytes")


def row(name, status, network, recipe, figures, budget, objective="val_accuracy"):
    """A line of the results, a dict.

    Args:
        name: of the trial.
        status: "COMPLETED", "RUNNING" or "FAILED"; of a rung also "continued", by another trial, or "stopped".
        network: a dict of `DenseNet` arguments.
        recipe: the `Recipe` it trained with.
        figures: what `measure` gave, a dict.
        budget: a `Budget`.
        objective: what was searched for.
    """
    point = {**{name: network[name] for name in ARCHITECTURE}, "blocks": "-".join(map(str, network["blocks"]))}
    point |= {name: getattr(recipe, name) for name in OF_RECIPE}
    found = {name: figures.get(name) for name in measured(objective)}
    return {"trial": name, "status": status.lower(), **point, **budget.figures(network), **found}


def ranked(rows, objective="val_accuracy"):
    """Completed rows, the best first: by the objective on the validation images, then by loss.

    Where none was trained to its last epoch yet, those that stopped at a rung.
    """
    done = next(filter(None, ([row for row in rows if row["status"] == s] for s in ("completed", "stopped"))), [])
    return sorted(done, key=lambda row: (-score(objective, row[objective]), row["val_loss"], row["parameters"]))


def front(rows, name, objective="val_accuracy"):
    """The Pareto front: rows than which no other is at least as good and at most as costly, the cheapest first.

    Args:
        rows: completed ones.
        name: of the cost, one of `COSTS`.
        objective: what was searched for.
    """
    scores = [score(objective, row[objective]) for row in rows]
    return [rows[index] for index in pareto([row[name] for row in rows], scores)]


def pareto(costs, scores):
    """Indices of the points than which no other is at least as good and at most as costly, the cheapest first."""
    found, best = [], -math.inf
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if scores[index] > best:
            best = scores[index]
            found.append(index)
    return found


def table(rows, limit=None, objective="val_accuracy", cost="parameters"):
    """A table of the completed rows, the best first; those on the front of the objective and a cost are starred.

    A network is its blocks, growth rate and theta; `results.csv` has all of it.
    """
    done, (value, spread, *_) = ranked(rows, objective), measured(objective)
    best, test = f"best_{objective}", f"test_{objective.removeprefix('val_')}"
    starred = {row["trial"] for row in front(done, cost, objective)}
    further = [name for name in MINIMISED if name == cost and name not in COSTS]
    heads = ("", "trial", "network", "parameters", "MACs", "ms/step", "memory")
    heads = (*heads, *map(_spoken, (*further, value, best, test)))
    found = Table(*heads, right=range(len(heads)))
    for row in done[:limit]:
        about = f" +- {told(value, row[spread])}" if row[spread] is not None else ""
        found.add_row(
            "*" if row["trial"] in starred else "",
            str(row["trial"]),
            f"{row['blocks']} k{row['growth_rate']}{'' if row['bottleneck'] else ' plain'} {row['theta']:g}",
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:,.1f} M",
            f"{row['ms_per_step']:.0f}",
            f"{row['peak_bytes'] / 1e6:,.0f} MB" if row["peak_bytes"] else "",
            *(f"{row[name]:.2f}" if name == MEASURED else f"{row[name]:,}" for name in further),
            f"{told(value, row[value])}{about}",
            *(told(value, row[name]) if row[name] is not None else "" for name in (best, test)),
        )
    return found


def _spoken(name):
    return name.replace("best_val_", "best_").replace("accuracy", "acc").replace("_", " ")


def family_costs(input_shape, classes, budget):
    """What the published networks cost on these images, a dict of dicts by name; a `Budget` has the batch size."""
    found = {}
    for name, network in VARIANTS.items():
        with contextlib.suppress(ValueError):  # images too small for its stride
            found[name] = budget.figures({**network, "input_shape": input_shape, "classes": classes})
    return found


def draw(path, rows, references=(), family=None, title="", objective="val_accuracy", minimised=None):
    """Draws the objective against parameters, MACs and time, each with its Pareto front; points are trials' numbers.

    Args:
        path: of the picture to write.
        rows: of the trials.
        references: rows of networks that were trained for comparison.
        family: what `family_costs` gives; those near the trials, and the smallest, are marked by a line at their cost,
            for they have no accuracy on this data.
        title: of the picture.
        objective: what was searched for.
        minimised: the cost that was searched along, whose front is drawn as it grew.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    done, (value, spread, *_) = ranked(rows, objective), measured(objective)
    largest = max(row["parameters"] for row in [*done, *references])
    smallest = min((costs["parameters"] for costs in (family or {}).values()), default=0)
    near = {k: v for k, v in (family or {}).items() if v["parameters"] <= max(3 * largest, smallest)}
    panels = COSTS if minimised is None else {minimised: MINIMISED[minimised], **COSTS}
    figure = Figure(figsize=(16 / 3 * len(panels), 5), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        axes.scatter([r[name] for r in done], [r[value] for r in done], color="silver", label="trials")
        for quarter in (1, 2, 3) if name == minimised else ():
            first = [row for row in rows if row in done][: math.ceil(quarter / 4 * len(done))]
            grown, look = front(first, name, objective), {"color": "tab:blue", "alpha": quarter / 5, "lw": 1}
            steps = [[row[column] for row in grown] for column in (name, value)]
            axes.step(*steps, "--", where="post", label=f"front after {len(first)} trials", **look)
        best = front(done, name, objective)
        axes.plot([r[name] for r in best], [r[value] for r in best], "o-", color="tab:blue", label="front")
        for row in done:
            place = {"xytext": (3, 3), "textcoords": "offset points"}
            axes.annotate(row["trial"], (row[name], row[value]), fontsize=7, **place)
        for index, reference in enumerate(references):
            point = [reference[name]], [reference[value]]
            axes.errorbar(
                *point, yerr=reference[spread], marker="*", markersize=14, color=f"C{index + 1}", ls="",
                label=reference["trial"],
            )  # fmt: skip
        for variant, costs in near.items():
            if name in costs:
                axes.axvline(costs[name], color="gray", lw=0.8, ls=":")
                axes.annotate(variant, (costs[name], 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7)
        low, high = axes.get_xlim()
        if low > 0 and high > 5 * low:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(label)
        axes.grid(alpha=0.3, which="both")
    figure.axes[0].set_ylabel(f"{value[4:].replace('_', ' ')} on the validation images, last epoch")
    figure.axes[0].legend(fontsize=8)
    (text,), family = lettering([title])
    figure.suptitle(text or "", family=family)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=120)
