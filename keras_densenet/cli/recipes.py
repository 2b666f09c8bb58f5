"""`keras-densenet recipes`, and a recipe's fields as options of a command."""

import dataclasses
import typing
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import app, console, gathered
from keras_densenet.console import Table


@app.command()
def recipes():
    """List the recipes with their values, which `train` and `search run` take as options, too.

    Example: keras-densenet recipes
    """
    table = Table("field", *training.RECIPES)
    for field in dataclasses.fields(training.Recipe):
        table.add_row(field.name, *(_told(getattr(recipe, field.name)) for recipe in training.RECIPES.values()))
    console.print(table)


def _told(value):
    if isinstance(value, tuple):
        return ", ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def recipe_options(command):
    """Gives a command an option for each field of `Recipe` that it has no own one for; `changes` gets what is given."""
    types, defaults = typing.get_type_hints(training.Recipe, include_extras=True), dataclasses.fields(training.Recipe)
    options = {}
    for field in defaults:
        kind, text = typing.get_args(types[field.name])
        if dict[str, float] in typing.get_args(kind):
            kind = str  # a file's name
        if typing.get_origin(kind) is tuple:
            kind = list[typing.get_args(kind)[0]]
        options[field.name] = Annotated[kind | None, typer.Option(help=text, rich_help_panel="Recipe")]
    return gathered(command, "changes", options)


def named(name):
    if name not in training.RECIPES:
        raise ValueError(f"--recipe must be one of {', '.join(training.RECIPES)}. Received: {name!r}")
    return training.RECIPES[name]
