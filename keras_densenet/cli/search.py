"""`keras-densenet search`: searching, and what a search has found."""

import functools
import os
import pathlib
import runpy
import sys
from typing import Annotated

import typer

import keras_densenet
from keras_densenet import training
from keras_densenet.cli.common import WithTensorFlow, app, console, filled
from keras_densenet.cli.loading import (
    Data,
    DataDir,
    Dimensions,
    ImageSize,
    Interpolation,
    SkipBad,
    load_splits,
    size_of,
    table_options,
)
from keras_densenet.cli.recipes import named, recipe_options
from keras_densenet.console import Table

group = typer.Typer(
    no_args_is_help=True,
    help="Search for the best DenseNet within a budget.\n\nExample: keras-densenet search run --max-parameters 200k",
)
app.add_typer(group, name="search")
command = functools.partial(group.command, cls=WithTensorFlow)

Folder = Annotated[pathlib.Path, typer.Argument(help="A search's folder.")]
SPACES = pathlib.Path(keras_densenet.__file__).parent / "search" / "spaces"
UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}


def amount(text, kind=int):
    """A whole number, or one of another kind, from text such as 200k, 1.5M or 2G."""
    unit = UNITS.get(text[-1:].lower(), 1)
    try:
        return kind(float(text[:-1] if unit > 1 else text) * unit)
    except (ValueError, OverflowError):
        raise ValueError(f"A limit must be a number such as 200000, 200k, 1.5M or 2G. Received: {text!r}") from None


def space_names():
    """The spaces of the package by name."""
    return sorted(file.stem for file in SPACES.glob("[!_]*.py"))


def space_of(name):
    """A space by its name or its file.

    Returns:
        What it is, a text, and its arguments of `DenseNetHyperModel`, a dict.
    """
    path = pathlib.Path(name) if name.endswith(".py") else SPACES / f"{name}.py"
    if not path.is_file():
        names = ", ".join(space_names())
        raise ValueError(f"--space must be one of {names}, or a file with a SPACE. Received: {name!r}")
    found = runpy.run_path(path)
    if not isinstance(found.get("SPACE"), dict):
        raise ValueError(f"{str(path)!r} must define SPACE, a dict of DenseNetHyperModel's arguments")
    return found["__doc__"] or "", found["SPACE"]


def _values(text):
    return typer.Option(help=text, rich_help_panel="Space: fixed 12, listed 8,12,16, range 4:24 or 4:24:2")


Limit = Annotated[str | None, typer.Option(rich_help_panel="Budget: such as 200k, 1.5M, 2G")]


@command()
@recipe_options
@table_options
def run(
    *,
    data: Data = "digits",
    out: Annotated[pathlib.Path | None, typer.Option(help="The search's folder. Default: searches/DATA.")] = None,
    trials: Annotated[int, typer.Option(help="Networks to train; 0 for all that grid and hyperband have.")] = 20,
    algorithm: Annotated[str, typer.Option(help="random, bayesian, hyperband, asha or grid.")] = "bayesian",
    factor: Annotated[
        int | None,
        typer.Option(
            help="Of asha and hyperband: one in so many goes on, to so many times the epochs.", show_default="3"
        ),
    ] = None,
    min_epochs: Annotated[
        int | None, typer.Option(help="Of asha: those before the first comparison.", show_default="1")
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option(
            "--objective", "--monitor", help="Of the last epoch, such as val_loss.", show_default="as train's --monitor"
        ),
    ] = None,
    minimise: Annotated[
        str | None,
        typer.Option(
            help="Search along the front of the objective and a cost: parameters, macs, activation_bytes, milliseconds."
        ),
    ] = None,
    executions: Annotated[int, typer.Option(help="Seeds for each network; the report has mean and spread.")] = 1,
    workers: Annotated[
        int, typer.Option(help="Processes that train at once on this machine, each with its GPU or share of the cores.")
    ] = 1,
    host: Annotated[
        str | None,
        typer.Option(help="Address of this machine for workers on others; prints the command that starts one there."),
    ] = None,
    warm_start: Annotated[
        bool, typer.Option("--warm-start", help="Begin with those weights of a trained neighbour that fit.")
    ] = False,
    compare: Annotated[
        list[str] | None, typer.Option(help="A published network to train as well, its k shrunk to the budget.")
    ] = None,
    confirm: Annotated[
        int, typer.Option(help="New seeds with which the best (or the front) and the compared are trained in the end.")
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete another search in the folder first.")] = False,
    search_seed: Annotated[int | None, typer.Option(help="Of the points; grid has none.", show_default="1")] = None,
    image_size: ImageSize = None,
    dimensions: Dimensions = None,
    interpolation: Interpolation = None,
    limit: Annotated[
        int | None, typer.Option(help="Train on so many images, validate on half as many, test on so many.")
    ] = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    max_parameters: Limit = None,
    max_macs: Limit = None,
    max_activation_bytes: Limit = None,
    space: Annotated[
        str | None,
        typer.Option(help="A name from `search spaces`, or a file; the options below change it."),
    ] = None,
    blocks: Annotated[str | None, _values("Layers of each block, such as '2:6 2:12 4'.")] = None,
    equal_blocks: Annotated[bool | None, _values("The same number of layers in all blocks.")] = None,
    growth_rate: Annotated[str | None, _values("k.")] = None,
    theta: Annotated[str | None, _values("Compression.")] = None,
    bottleneck: Annotated[str | None, _values("yes, no or yes,no.")] = None,
    dropout_rate: Annotated[str | None, _values("Rate of dropout.")] = None,
    stem: Annotated[str | None, typer.Option(help="cifar or imagenet.")] = None,
    stem_channels: Annotated[str | None, _values("Width of the stem.")] = None,
    learning_rate: Annotated[str | None, _values("Highest learning rate.")] = None,
    weight_decay: Annotated[str | None, _values("Weight decay.")] = None,
    recipe: Annotated[str, typer.Option(help=f"{', '.join(training.RECIPES)}; the options below change it.")] = "short",
    table,
    changes,
):
    """Search for the best DenseNet within a budget.

    Interrupted and called again, it goes on. A few minutes on 2 cores:

    Example: keras-densenet search run --data digits --max-parameters 200k --trials 20
    """
    from keras_densenet import search
    from keras_densenet.data.sources import described
    from keras_densenet.data.splits import limited
    from keras_densenet.search.launch import launched

    if workers > 1 or host is not None:  # the chief leaves a GPU's memory to its workers
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    short = {"epochs": 8, "warmup_epochs": 1.0, "xla": False} if recipe == "short" else {}
    settled = named(recipe).changed(**short).changed(**changes)
    if search_seed is not None and algorithm == "grid":
        raise ValueError("--search-seed cannot be used with --algorithm grid, which takes the points in order")
    size = size_of("16" if image_size is None and data == "digits" else image_size)  # the digits are of 8x8
    known, framing = described(data, **table), {"dimensions": dimensions, "interpolation": interpolation or "bilinear"}
    splits = load_splits(known, image_size=size, skip_bad=skip_bad, data_dir=data_dir, seed=settled.seed, **framing)
    splits = limited(splits, limit)
    if "batch_size" not in changes:
        settled = filled(settled, splits)
    given = {"blocks": blocks, "equal_blocks": equal_blocks, "growth_rate": growth_rate, "theta": theta, "stem": stem}
    given |= {"bottleneck": bottleneck, "dropout_rate": dropout_rate, "stem_channels": stem_channels}
    given |= {"learning_rate": learning_rate, "weight_decay": weight_decay}
    given = {name: values for name, values in given.items() if values is not None}
    hypermodel = search.DenseNetHyperModel(
        tuple(splits.train.images.shape[1:]),
        len(splits.labels),
        **{**(space_of(space)[1] if space else {}), **given},
        recipe=settled,
    )
    asked = {"max_parameters": max_parameters, "max_macs": max_macs, "max_activation_bytes": max_activation_bytes}
    limits = {name: amount(limit) for name, limit in asked.items() if limit is not None}
    folder = out or pathlib.Path("searches") / pathlib.Path(data).name
    try:
        tell = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
        with launched(workers, ["-m", "keras_densenet", *sys.argv[1:]], folder, host, tell):
            results = search.search(
                folder,
                hypermodel,
                search.Budget(**limits, batch_size=settled.batch_size),
                splits,
                {"name": known, "image_size": size, "images": limit, "skip_bad": skip_bad or None}
                | {"data_dir": data_dir and str(data_dir)}
                | ({"interpolation": interpolation} if interpolation else {}),
                algorithm=algorithm,
                trials=trials or None,
                executions=executions,
                objective=monitor,
                minimise=minimise,
                factor=factor,
                min_epochs=min_epochs,
                warm_start=warm_start,
                seed=1 if search_seed is None else search_seed,
                overwrite=overwrite,
                compare=compare or (),
                confirm=confirm,
                console=console,
            )
    except (KeyboardInterrupt, training.Terminated) as end:
        how = "interrupted" if isinstance(end, KeyboardInterrupt) else "terminated"
        told = f"{how}; {folder} keeps what was trained, and the same command goes on from there"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
        raise
    if results:
        results.show(console)


@group.command()
def spaces():
    """List the spaces that `search run --space` knows by name.

    Example: keras-densenet search spaces
    """
    table = Table("name", "what", "values")
    for name in space_names():
        about, space = space_of(name)
        table.add_row(name, about.splitlines()[0], [f"{key} {value}" for key, value in space.items()])
    console.print(table)


@command()
def best(
    folder: Folder,
    at: Annotated[
        str | None,
        typer.Option(help="The best of at most so many MACs, or what was minimised; parameters if nothing was."),
    ] = None,
):
    """Print the line of Python that builds the best network, and write best.json, which `train --model` takes.

    With --at it is the most accurate within a cost, and its file best-at-COST.json.

    Example: keras-densenet search best searches/digits --at 50k
    """
    from keras_densenet.search import Results
    from keras_densenet.search.report import MEASURED

    results = Results(folder)
    most = None if at is None else amount(at, float if results.cost == MEASURED else int)
    console.print(f"{results.write(most)}\n{results.command(most)}", highlight=False, markup=False, soft_wrap=True)


@command()
def report(
    folder: Folder,
    rows: Annotated[int | None, typer.Option(help="Lines of the table. Default: all.")] = None,
):
    """Print the trials, the best first, and write results.csv, pareto.png and best.json. The search may still run.

    Example: keras-densenet search report searches/digits
    """
    from keras_densenet.search import Results

    Results(folder).show(console, rows)
