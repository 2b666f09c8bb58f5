"""`keras-densenet weights` and `keras-densenet convert`."""

import dataclasses
import pathlib
from typing import Annotated

import typer

import keras_densenet as kd
from keras_densenet.cli.common import app, command, console
from keras_densenet.console import Table
from keras_densenet.family import variant
from keras_densenet.weights.catalogue import CHECKPOINTS, member

_SHOWN = 5  # names of tensors
_OWN = ("classes", "include_top", "input_shape")  # arguments in which networks of one architecture differ


@app.command()
def weights(
    source: Annotated[
        str | None, typer.Argument(help="A file of weights, a run's folder, or one of the names that are listed.")
    ] = None,
):
    """List the published weights; or tell what is in a file, and what is needed to load it.

    Example: keras-densenet weights checkpoint.safetensors
    """
    if source is None:
        table = Table("name", "of", "top-1", "top-5", "image", "licence", "file")
        for row in CHECKPOINTS.values():
            accuracies = ["" if share is None else f"{share:.2f}" for share in (row.top1, row.top5)]
            table.add_row(row.name, row.data, *accuracies, str(row.input_size), row.licence, row.url)
        console.print(table)
    elif source in CHECKPOINTS:
        for name, value in vars(CHECKPOINTS[source]).items():
            console.print(f"{name}: {value}", soft_wrap=True)
    else:
        from keras_densenet.weights.files import describe_file

        found = describe_file(source)
        for name, description in found.items():
            _tell(source, name if len(found) > 1 else None, description)


def _tell(source, network, found):
    plan, name = found.architecture, member(found.architecture)
    pool = variant(name).get("stem_pool", plan.stem_pool) if name else plan.stem_pool
    told = {
        "layout": found.layout + (f", its names behind {found.prefix!r}" if found.prefix else ""),
        "network": f"{name or 'none of the family'}, blocks {'-'.join(map(str, plan.blocks))}, k={plan.growth_rate}, "
        f"theta={plan.theta:.4g}, {plan.stem} stem",
        "pool": "" if plan.stem == "cifar" else f"taken for {pool}: weights do not tell whether it is max or blur",
        "classifier": f"{found.classifier!r}, {plan.classes} classes" if plan.classes else "none",
        "dimensions": plan.rank,
        "channels": plan.input_shape[-1],
        "missing": found.missing,
        "left over": found.left_over,
    }
    if network is not None:
        console.print(f"{network!r}")
    for key, value in told.items():
        if isinstance(value, list):
            more = f" and {len(value) - _SHOWN} more" if len(value) > _SHOWN else ""
            value = ", ".join(value[:_SHOWN]) + more
        if value != "":
            console.print(f"{key}: {value}", soft_wrap=True)
    arguments = _arguments(found, top=not found.left_over)
    constructor = "DenseNet("
    if name:
        arguments = {key: arguments[key] for key in _OWN if key in arguments}
        constructor = f"create_model({name!r}, "
    if network is None:
        arguments["weights"] = source
    given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    console.print(f"to load it: model = kd.{constructor}{given})", soft_wrap=True)
    if network is not None:
        console.print(f"            kd.load_weights(model, {source!r}, network={network!r})", soft_wrap=True)


def _arguments(found, top=True):
    """Arguments of `DenseNet` for the network of a `Description`."""
    plan = found.architecture
    network = {key: value for key, value in dataclasses.asdict(plan).items() if key not in ("classes", "dropout_rate")}
    return network | ({"classes": plan.classes} if top and plan.classes else {"include_top": False})


def _network_of(source, network, model, top):
    """Arguments of `DenseNet` for what a source holds; the family's own for a name that needs a network to mean one."""
    if source in CHECKPOINTS:
        row = CHECKPOINTS[source]
        has_top = {"classes": row.classes} if top and row.include_top else {"include_top": False}
        return {**variant(row.variant), **has_top, "input_shape": (None, None, row.channels)}
    if model is not None and not pathlib.Path(source).exists():
        return {**variant(model), "include_top": top, "input_shape": None}
    from keras_densenet.weights.files import describe_file

    found = describe_file(source)
    described = found.get(network, next(iter(found.values())))
    if top and described.left_over:
        raise ValueError(
            f"{source!r} has {', '.join(described.left_over[:_SHOWN])} behind the network: --no-top leaves that out"
        )
    return _arguments(described, top)


@command()
def convert(
    source: Annotated[str, typer.Argument(help="A file of weights, a run's folder, or a name from `weights`.")],
    out: Annotated[pathlib.Path, typer.Option(help="File to write: .weights.h5, .h5, .safetensors, .pth or .pt.")],
    model: Annotated[str | None, typer.Option(help="A name from `models`. Default: read off the source.")] = None,
    layout: Annotated[str, typer.Option(help="keras_densenet, torchvision, monai or keras.")] = "keras_densenet",
    classes: Annotated[int | None, typer.Option(help="Of the source's classifier. Default: read off it.")] = None,
    network: Annotated[str | None, typer.Option(help="Which of several networks in the source.")] = None,
    top: Annotated[bool, typer.Option(help="Whether to convert the classifier.")] = True,
    dimensions: Annotated[
        int | None, typer.Option(min=1, max=3, help="Of the inputs of what is written. Default: the source's.")
    ] = None,
    inflate: Annotated[str, typer.Option(help="How kernels get more dimensions: centre or repeat.")] = "centre",
):
    """Turn weights of Keras, torchvision, timm, MONAI or keras-hub into this package's, or into theirs.

    Example: keras-densenet convert densenet121.safetensors --out densenet121.weights.h5
    """
    from keras_densenet.weights.files import check_target

    check_target(out, layout)
    arguments = _network_of(source, network, model, top)
    if model is not None:
        arguments = {**variant(model), **{key: arguments[key] for key in _OWN if key in arguments}}
    if classes is not None and top:
        arguments["classes"] = classes
    if dimensions is not None:
        arguments["input_shape"] = (*[None] * dimensions, (arguments["input_shape"] or (3,))[-1])
    with console.status("building the network ..."):
        built = kd.DenseNet(**arguments)
    with console.status("converting ..."):
        kd.load_weights(built, source, network=network, inflate=inflate)
        kd.save_weights(built, out, layout)
    what = f"with {built.architecture.classes} classes" if built.architecture.classes else "without classifier"
    console.print(f"{source} is now {out} in the layout of {layout}, {what}")
