"""`keras-densenet train`."""

import dataclasses
import os
import pathlib
from typing import Annotated

import typer

from keras_densenet import training
from keras_densenet.architecture import by, sides
from keras_densenet.budget import Budget
from keras_densenet.cli.common import command, console, filled, run_training
from keras_densenet.cli.loading import (
    DATA,
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
from keras_densenet.family import variant
from keras_densenet.training.plan import Plan, read_plan


def _own(text, default=False):
    return typer.Option(help=text, show_default=default, rich_help_panel="A network of your own, without --model")


def _layer_counts(text):
    try:
        return [int(count) for count in text.split(",")]
    except ValueError:
        raise ValueError(f"--blocks lists layers by block, such as 6,12,24,16. Received: {text!r}") from None


@command()
@recipe_options
@table_options
def train(
    *,
    out: Annotated[pathlib.Path, typer.Option(help="The run's folder; called again, the run goes on.")],
    model: Annotated[
        str | None,
        typer.Option(help="A name from `keras-densenet models`, or a search's best.json with its recipe and data."),
    ] = None,
    depth: Annotated[int | None, _own("L: 6n + 4, or 3n + 4 if plain.", "22")] = None,
    blocks: Annotated[str | None, _own("Instead of L: layers of each block, such as 2,6,10.")] = None,
    growth_rate: Annotated[int | None, _own("k.", "12")] = None,
    theta: Annotated[float | None, _own("Compression, in (0, 1].", "0.5")] = None,
    bottleneck: Annotated[bool | None, _own("1x1 bottlenecks.", "bottleneck")] = None,
    stem: Annotated[str | None, _own("cifar (3x3), imagenet or deep (stride 4).", "cifar")] = None,
    data: Annotated[str | None, typer.Option(help=DATA, show_default="digits, or a best.json's")] = None,
    image_size: ImageSize = None,
    dimensions: Dimensions = None,
    interpolation: Interpolation = None,
    skip_bad: SkipBad = False,
    data_dir: DataDir = None,
    weights: Annotated[str | None, typer.Option(help="To start from; the classifier is new.")] = None,
    freeze: Annotated[str | None, typer.Option(help="Last stage to leave untrained, such as block2.")] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="INTEGER|auto",
            help="Images in an update, of all devices together; auto: as many as the memory holds, a power of two.",
            show_default="the recipe's",
            rich_help_panel="Recipe",
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help=f"{', '.join(training.RECIPES)}; the options below change it.")] = "short",
    strategy: Annotated[str, typer.Option(help="none, mirrored (this machine's GPUs) or multi_worker (TF_CONFIG).")] = (
        "none"
    ),
    sync_statistics: Annotated[bool, typer.Option(help="Normalise with the global batch's statistics.")] = False,
    tensorboard: Annotated[bool, typer.Option(help="Write TensorBoard logs into the run's folder.")] = False,
    table,
    changes,
):
    """Train a network. Ctrl-C and SIGTERM save the run and end with exit codes 130 and 143; called again, it goes on.

    A run that has ended goes on if it is given more epochs; the schedule is then laid out over all of them.

    Example: keras-densenet train --model densenet-bc-40-12 --epochs 20 --out runs/bc-40-12

    Example: keras-densenet train --model searches/digits/best.json --out runs/best

    Example: keras-densenet train --data scans/ --image-size 64x64x64 --normalise each --stem imagenet --out runs/scans

    Example: keras-densenet train --recipe cifar --data cifar10 --model densenet-bc-100-12 --out runs/paper
    """
    own = {"depth": depth, "blocks": blocks, "growth_rate": growth_rate, "theta": theta, "bottleneck": bottleneck}
    plan = _plan(model, {**own, "stem": stem})
    source = _source(model, plan.data, data, size_of(image_size), data_dir, table)
    interpolation = interpolation or plan.data.get("interpolation") or "bilinear"
    source |= {"dimensions": dimensions, "interpolation": interpolation}
    if sync_statistics and strategy == "none":
        raise ValueError("--sync-statistics needs --strategy mirrored or multi_worker")
    if batch_size not in (None, "auto"):
        changes["batch_size"] = _number(batch_size)
    settled = named(recipe).changed(**plan.recipe).changed(**changes)
    devices = training.make_strategy(strategy, sync_statistics)  # many workers: before anything of TensorFlow runs
    splits = load_splits(**source, skip_bad=skip_bad or bool(plan.data.get("skip_bad")), seed=settled.seed)
    shape, classes = tuple(splits.train.images.shape[1:]), len(splits.labels)
    if plan.data and (shape, classes) != (plan.data["shape"], plan.data["classes"]):
        wanted, found = _images(plan.data["shape"], plan.data["classes"]), _images(shape, classes)
        raise ValueError(f"The network of {model} was found on images of {wanted}. Received: images of {found}")
    if batch_size == "auto":
        settled = _largest(plan.network, splits, settled, out, strategy=devices, weights=weights, freeze=freeze)
    elif "batch_size" not in {**plan.recipe, **changes}:
        settled = filled(settled, splits, devices)
    budget = dataclasses.replace(plan.budget, batch_size=settled.batch_size)
    if excess := budget.excess({**plan.network, "input_shape": shape, "classes": classes}):
        console.print(f"over the budget that {model} was found within: {excess}", highlight=False, markup=False)
    options = {"strategy": devices, "weights": weights, "freeze": freeze, "tensorboard": tensorboard}
    run_training(plan.network, source["source"], splits, settled, out, **options)


def _number(batch_size):
    if not batch_size.isdecimal():
        raise ValueError(f"--batch-size must be a whole number or auto. Received: {batch_size!r}")
    return int(batch_size)


def _largest(network, splits, recipe, out, **options):
    """The recipe with the batch size that the run in the folder has, or else the largest that can be trained with."""
    from keras_densenet.training.folder import read_json

    if begun := read_json(out / "run.json"):
        return recipe.changed(batch_size=begun["arguments"]["recipe"]["batch_size"])

    def told(sizes):
        for size in sizes:
            with console.status(f"trying a batch of {size:,} images ..."):
                yield size

    size = training.largest_batch_size(network, splits, recipe, track=told, **options)
    console.print(
        f"batch size {size:,}, the largest power of two for each device that the memory holds", highlight=False
    )
    return recipe.changed(batch_size=size)


def _plan(model, own):
    """The `Plan` that a name, a file or the options of a network of one's own stand for."""
    own = {name: value for name, value in own.items() if value is not None}
    if model is not None and own:
        raise ValueError(f"{_options(own)} cannot be used with --model, which says it all. Received: --model {model}")
    if model is None:
        if {"depth", "blocks"} <= own.keys():
            raise ValueError("--depth cannot be used with --blocks, which says how many layers there are")
        if "blocks" in own:
            own["blocks"] = _layer_counts(own["blocks"])
        size = {} if "blocks" in own else {"depth": 22}
        network = {**size, "growth_rate": 12, "theta": 0.5, "bottleneck": True, "stem": "cifar", **own}
    elif model.endswith(".json"):
        return read_plan(model)
    else:
        network = {key: value for key, value in variant(model).items() if key not in ("classes", "input_shape")}
    return Plan(network, {}, {}, Budget())


def _source(model, planned, data, image_size, data_dir, table):
    """What to load: what is given, else what a plan says of its data, which the others must not contradict."""
    from keras_densenet.data.sources import absolute, described, name_of, options_of

    if not planned:
        source = described(data or "digits", **table)
        return {"source": source, "image_size": image_size, "data_dir": data_dir}
    known, (*size, channels) = planned["name"], planned["shape"]
    options, name = options_of(known), name_of(known)
    moved = os.path.isabs(name) and not os.path.exists(name)
    wrong = ["--data"] if data is not None and absolute(data) != absolute(name) and not moved else []
    wrong += ["--image-size"] if image_size and sides(image_size, len(size)) != tuple(size) else []
    fixed = {"--uncertain": "uncertain", "--column": "columns"}
    wrong += [flag for flag, other in fixed.items() if other in table and table[other] != options.get(other)]
    if wrong:
        raise ValueError(
            f"{', '.join(wrong)} cannot be other than in {model}, whose network was found on {name} at "
            f'{by(size)}: leave it out, or take "data" out of the file to train on other images'
        )
    return {
        "source": described({**options, "source": data or name}, **table),
        "image_size": size,
        "channels": channels,
        "data_dir": data_dir or planned["data_dir"],
    }


def _images(shape, classes):
    return f"{by(shape)} in {classes} classes"


def _options(names):
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
