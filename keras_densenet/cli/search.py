"""`keras-densenet search`: what a search has found. `python tuning/search.py` searches."""

import pathlib
from typing import Annotated

import typer

from keras_densenet.cli.common import app, console

group = typer.Typer(no_args_is_help=True, help="What a search has found.\n\nExample: keras-densenet search best DIR")
app.add_typer(group, name="search")

Folder = Annotated[pathlib.Path, typer.Argument(help="A search's folder.")]


@group.command()
def best(folder: Folder):
    """Print the line of Python that builds the best network, and write best.json, which `train --model` takes.

    Example: keras-densenet search best searches/digits
    """
    from keras_densenet.search import Results

    results = Results(folder)
    console.print(f"{results.write()}\n{results.command()}", highlight=False, markup=False, soft_wrap=True)


@group.command()
def report(
    folder: Folder,
    rows: Annotated[int | None, typer.Option(help="Lines of the table. Default: all.")] = None,
):
    """Print the trials, the best first, and write results.csv, pareto.png and best.json. The search may still run.

    Example: keras-densenet search report searches/digits
    """
    from keras_densenet.search import Results

    Results(folder).show(console, rows)
