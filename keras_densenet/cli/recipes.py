"""`keras-densenet recipes`, and a recipe's fields as options of a command."""

import dataclasses
import inspect
import typing
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import app, console
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
    signature, options = inspect.signature(command), []
    for field in defaults:
        if field.name in signature.parameters:
            continue
        kind, text = typing.get_args(types[field.name])
        if dict[str, float] in typing.get_args(kind):
            kind = str  # a file's name
        if typing.get_origin(kind) is tuple:
            kind = list[typing.get_args(kind)[0]]
        option = Annotated[kind | None, typer.Option(help=text, rich_help_panel="Recipe")]
        options.append(inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option))
    others = [parameter for name, parameter in signature.parameters.items() if name != "changes"]

    def with_options(**given):
        changes = {option.name: given.pop(option.name) for option in options}
        changes = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items() if v is not None}
        return command(**given, changes=changes)

    with_options.__signature__ = signature.replace(parameters=[*others, *options])
    with_options.__annotations__ = {p.name: p.annotation for p in (*others, *options)}
    with_options.__name__, with_options.__doc__ = command.__name__, command.__doc__
    return with_options


def named(name):
    if name not in training.RECIPES:
        raise ValueError(f"--recipe must be one of {', '.join(training.RECIPES)}. Received: {name!r}")
    return training.RECIPES[name]
