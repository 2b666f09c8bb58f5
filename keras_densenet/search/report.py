"""What a search has found: a table, a CSV file, Pareto fronts, the best network."""

import csv
import math

from keras_densenet.console import Table
from keras_densenet.cost import cost
from keras_densenet.family import VARIANTS
from keras_densenet.files import written_beside
from keras_densenet.search.hypermodel import OF_RECIPE

COSTS = {"parameters": "trainable parameters", "macs": "MACs of an image", "ms_per_step": "ms per training step"}
MEASURED = (
    *("val_accuracy", "accuracy_spread", "val_loss", "best_val_accuracy", "test_accuracy"),
    *("epochs", "ms_per_step", "peak_bytes"),
)
ARCHITECTURE = ("blocks", "growth_rate", "bottleneck", "theta", "stem", "stem_channels", "dropout_rate")


def row(name, status, network, recipe, figures, budget):
    """A line of the results, a dict.

    Args:
        name: of the trial.
        status: "COMPLETED", "RUNNING" or "FAILED".
        network: a dict of `DenseNet` arguments.
        recipe: the `Recipe` it trained with.
        figures: what `measure` gave, a dict.
        budget: a `Budget`.
    """
    point = {**{name: network[name] for name in ARCHITECTURE}, "blocks": "-".join(map(str, network["blocks"]))}
    point |= {name: getattr(recipe, name) for name in OF_RECIPE}
    measured = {name: figures.get(name) for name in MEASURED}
    return {"trial": name, "status": status.lower(), **point, **budget.figures(network), **measured}


def ranked(rows):
    """Completed rows, the best first: by accuracy on the validation images, then by loss."""
    done = [row for row in rows if row["status"] == "completed"]
    return sorted(done, key=lambda row: (-row["val_accuracy"], row["val_loss"], row["parameters"]))


def front(rows, name):
    """The Pareto front: rows than which no other is at least as accurate and at most as costly, the cheapest first.

    Args:
        rows: completed ones.
        name: of the cost, one of `COSTS`.
    """
    found, best = [], -math.inf
    for candidate in sorted(rows, key=lambda row: (row[name], -row["val_accuracy"])):
        if candidate["val_accuracy"] > best:
            best = candidate["val_accuracy"]
            found.append(candidate)
    return found


def write_csv(path, rows):
    """Writes rows to a CSV file, whole or not at all."""
    with written_beside(path) as beside, open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def table(rows, limit=None):
    """A table of the completed rows, the best first; those on the front of parameters are starred.

    A network is its blocks, growth rate and theta; `results.csv` has all of it.
    """
    done = ranked(rows)
    starred = {row["trial"] for row in front(done, "parameters")}
    heads = ("", "trial", "network", "parameters", "MACs", "ms/step", "memory", "val acc", "best", "test acc")
    found = Table(*heads, right=range(len(heads)))
    for row in done[:limit]:
        spread = f" +- {row['accuracy_spread']:.2%}" if row["accuracy_spread"] is not None else ""
        found.add_row(
            "*" if row["trial"] in starred else "",
            str(row["trial"]),
            f"{row['blocks']} k{row['growth_rate']}{'' if row['bottleneck'] else ' plain'} {row['theta']:g}",
            f"{row['parameters']:,}",
            f"{row['macs'] / 1e6:,.1f} M",
            f"{row['ms_per_step']:.0f}",
            f"{row['peak_bytes'] / 1e6:,.0f} MB" if row["peak_bytes"] else "",
            f"{row['val_accuracy']:.2%}{spread}",
            f"{row['best_val_accuracy']:.2%}",
            f"{row['test_accuracy']:.2%}" if row["test_accuracy"] is not None else "",
        )
    return found


def family_costs(input_shape, classes):
    """Parameters and MACs of the published networks on these images, a dict of dicts by name."""
    found = {}
    for name, network in VARIANTS.items():
        try:
            costs = cost({**network, "input_shape": input_shape, "classes": classes})
        except ValueError:  # images too small for its stride
            continue
        found[name] = {"parameters": costs.trainable_parameters, "macs": costs.macs}
    return found


def draw(path, rows, references=(), family=None, title=""):
    """Draws accuracy against parameters, MACs and time, each with its Pareto front.

    Args:
        path: of the picture to write.
        rows: of the trials.
        references: rows of networks that were trained for comparison.
        family: what `family_costs` gives; those near the trials, and the smallest, are marked by a line at their cost,
            for they have no accuracy on this data.
        title: of the picture.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    done = ranked(rows)
    largest = max(row["parameters"] for row in [*done, *references])
    smallest = min((costs["parameters"] for costs in (family or {}).values()), default=0)
    near = {k: v for k, v in (family or {}).items() if v["parameters"] <= max(3 * largest, smallest)}
    figure = Figure(figsize=(16, 5), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, 3, sharey=True), COSTS.items(), strict=True):
        axes.scatter([r[name] for r in done], [r["val_accuracy"] for r in done], color="silver", label="trials")
        best = front(done, name)
        axes.plot([r[name] for r in best], [r["val_accuracy"] for r in best], "o-", color="tab:blue", label="front")
        for index, reference in enumerate(references):
            point = [reference[name]], [reference["val_accuracy"]]
            axes.errorbar(
                *point, yerr=reference["accuracy_spread"], marker="*", markersize=14, color=f"C{index + 1}", ls="",
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
    figure.axes[0].set_ylabel("accuracy on the validation images, last epoch")
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(title)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=120)
