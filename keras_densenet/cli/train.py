"""`keras-densenet train`."""

import dataclasses
import inspect
import pathlib
import typing
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.cli.common import Data, DataDir, ImageSize, SkipBad, app, load_splits, run_training
from keras_densenet.family import variant
from keras_densenet.training.plan import read_plan


def recipe_options(command):
    """Gives a command an option for each field of `Recipe` that it has no own one for; `changes` gets what is given."""
    types, defaults = typing.get_type_hints(training.Recipe, include_extras=True), dataclasses.fields(training.Recipe)
    signature, options = inspect.signature(command), []
    for field in defaults:
        if field.name in signature.parameters:
            continue
        kind, text = typing.get_args(types[field.name])
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


def _layer_counts(text):
    try:
        return [int(count) for count in text.split(",")]
    except ValueError:
        raise ValueError(f"--blocks lists layers by block, such as 6,12,24,16. Received: {text!r}") from None


def named(name):
    if name not in training.RECIPES:
        raise ValueError(f"--recipe must be one of {', '.join(training.RECIPES)}. Received: {name!r}")
    return training.RECIPES[name]


@app.command()
@recipe_options
def train(
    *,
    out: Annotated[pathlib.Path, typer.Option(help="The run's folder; called again, the run goes on.")],
    model: Annotated[
        str | None, typer.Option(help="A name from `keras-densenet models`, or a search's best.json with its recipe.")
    ] = None,
    depth: Annotated[int, typer.Option(help="L of a network of your own: 6n + 4, or 3n + 4 if plain.")] = 22,
    blocks: Annotated[str | None, typer.Option(help="Instead of L: layers of each block, such as 2,6,10.")] = None,
    growth_rate: Annotated[int, typer.Option(help="k of a network of your own.")] = 12,
    theta: Annotated[float, typer.Option(help="Compression of a network of your own, in (0, 1].")] = 0.5,
    bottleneck: Annotated[bool, typer.Option(help="1x1 bottlenecks in a network of your own.")] = True,
    stem: Annotated[str, typer.Option(help="Of a network of your own: cifar (3x3), or imagenet (stride 4).")] = "cifar",
    data: Data = "digits",
    image_size: ImageSize = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    weights: Annotated[str | None, typer.Option(help="To start from; the classifier is new.")] = None,
    freeze: Annotated[str | None, typer.Option(help="Last stage to leave untrained, such as block2.")] = None,
    recipe: Annotated[str, typer.Option(help=f"{', '.join(training.RECIPES)}; the options below change it.")] = "short",
    strategy: Annotated[str, typer.Option(help="none, mirrored (this machine's GPUs) or multi_worker (TF_CONFIG).")] = (
        "none"
    ),
    sync_statistics: Annotated[bool, typer.Option(help="Normalise with the global batch's statistics.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard logs into the run's folder.")] = False,
    changes,
):
    """Train a network. SIGTERM saves and ends with exit code 143; called again, the run goes on.

    Example: keras-densenet train --model densenet-bc-40-12 --epochs 20 --out runs/bc-40-12

    Example: keras-densenet train --model searches/digits/best.json --out runs/best

    Example: keras-densenet train --recipe cifar --data cifar10 --model densenet-bc-100-12 --out runs/paper
    """
    found = {}
    if model is None:
        size = {"depth": depth} if blocks is None else {"blocks": _layer_counts(blocks)}
        network = {**size, "growth_rate": growth_rate, "theta": theta, "bottleneck": bottleneck, "stem": stem}
    elif model.endswith(".json"):
        network, found = read_plan(model)
    else:
        network = {key: value for key, value in variant(model).items() if key not in ("classes", "input_shape")}
    plan = dataclasses.replace(named(recipe), **{**found, **changes})
    devices = training.make_strategy(strategy, sync_statistics)  # many workers: before anything of TensorFlow runs
    splits = load_splits(data, image_size, skip_bad, data_dir, plan.seed)
    options = {"strategy": devices, "weights": weights, "freeze": freeze, "tensorboard": tensorboard}
    run_training(network, data, splits, plan, out, **options)
