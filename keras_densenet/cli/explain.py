"""`keras-densenet explain` and `keras-densenet describe`."""

import pathlib
from typing import Annotated

import typer

import keras_densenet as kd
from keras_densenet import data, models, training
from keras_densenet import explain as views
from keras_densenet.architecture import by
from keras_densenet.cli.common import WithTensorFlow, app, console, start_tensorflow
from keras_densenet.cli.loading import DataDir, Model, load_both, load_network, size_of, table_options
from keras_densenet.cli.predict import image_files
from keras_densenet.console import Table, track
from keras_densenet.names import visible

_SEEN, _LARGEST = 256, 1024  # pixels of a picture's shorter and longer side

explain = typer.Typer(no_args_is_help=True, help="See which features a trained network reuses, and where it looks.")
app.add_typer(explain, name="explain")


@explain.command(cls=WithTensorFlow)
def reuse(
    model: Model,
    out: Annotated[pathlib.Path, typer.Option(help="Picture to write, .png or .svg.")] = pathlib.Path("reuse.png"),
    scaled: Annotated[
        bool, typer.Option("--scaled", help="Multiply weights by |gamma| of the normalisation before them.")
    ] = False,
):
    """Draw by which weights each layer reads the layers before it (the paper's figure 5), and tell what the paper saw.

    Example: keras-densenet explain reuse runs/digits --out map.png
    """
    network, _ = training.load_model(model)
    blocks = kd.feature_reuse(network, scaled)
    views.draw_reuse(blocks, out, str(model))
    columns = "block", "spread", "x_0 least", "chance", "x_0/others", "read by", "spread", "late/early"
    table = Table(*columns)
    for row in views.observations(blocks):
        figures = (row[name] for name in ("spread", "input_least", "input_chance", "input_weight"))
        reader = row["reader"] or "", *(_figure(row[name]) for name in ("reader_spread", "reader_late"))
        table.add_row(row["block"], *map(_figure, figures), *reader)
    console.print(table)
    console.print(
        "spread: over how much of what it could read a layer spreads its weight, 1 for evenly over all; x_0 least: "
        "share of the layers that give the block's input the least weight, and what chance would give; x_0/others: "
        "its weight by the others' mean; late/early: weight of the last third of the sources by that of the first",
    )
    console.print(f"the map is in {out}")


def _figure(value):
    return "" if value is None else f"{value:.2f}"


@explain.command(cls=WithTensorFlow)
def cam(
    model: Model,
    images: Annotated[list[str], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[pathlib.Path, typer.Option(help="Folder for the pictures.")] = pathlib.Path("cam"),
    level: Annotated[
        str | None, typer.Option(help="Pyramid level, such as P4; the lower the finer. Default: the last.")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option("--class", "--label", help="Name or number of what to explain. Default: the most probable."),
    ] = None,
    method: Annotated[str, typer.Option(help="grad-cam or grad-cam++.")] = "grad-cam",
):
    """Draw what in images speaks for a class: Grad-CAM, laid over each image; what the network did not see is darker.

    Of a volume three slices are drawn through the place where the heat is strongest, a signal as curves before it.

    Example: keras-densenet explain cam runs/digits seven.png photos/ --level P1 --out cam

    Example: keras-densenet explain cam runs/xrays a.png --label Effusion
    """
    from keras_densenet.models.flat import with_temperature

    network, labels = load_network(model)
    class_index = None if of is None else _class(of, labels)
    paths, table = image_files(images), Table("image", "class", "probability", "picture")
    framing, answering, written = models.framing_of(network), with_temperature(network), set()
    size = 1 if framing.size is None else 32
    for start in track(range(0, len(paths), size), "explaining", console=console):
        batch = paths[start : start + size]
        pixels = data.read_images(batch, framing)
        found = kd.grad_cam(network, pixels, class_index, level, method)
        probabilities = answering(pixels, training=False).numpy()
        for path, image, heat, index, row in zip(batch, pixels, *found[:2], probabilities, strict=True):
            label, probability = labels[index], f"{row[index]:.1%}"
            name = f"{path.stem}-{visible(label).replace('/', '_')}"
            while name in written:  # files of one name in several folders
                name += "_"
            written.add(name)
            if heat.ndim == 2:
                picture, otherwise = _overlaid(path, heat, framing), f"class {index} {probability}"
                views.draw_captioned(picture, f"{label} {probability}", out / f"{name}.png", otherwise)
            else:
                views.draw_activation(image, heat, out / f"{name}.png", f"{label} {probability}")
            table.add_row(str(path), label, probability, str(out / f"{name}.png"))
    console.print(table)


def _overlaid(path, cam, framing):
    """The whole photo in a size that one can see, with the map where the network saw it, and darker elsewhere."""
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    from keras_densenet.explain.seen import stretched

    photo = data.read_images([path], data.Framing(None, 3))[0]
    photo = Image.fromarray((photo if 0 <= photo.min() <= photo.max() <= 255 else stretched(photo)).astype("uint8"))
    box = framing.box(photo.height, photo.width)
    scale = max(1, _SEEN // min(photo.size)) if min(photo.size) < _SEEN else min(1, _LARGEST / max(photo.size))
    shape = [max(1, round(side * scale)) for side in photo.size]
    pixels = np.asarray(photo.resize(shape, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS))
    top, left, height, width = (round(length * scale) for length in box)
    inside = slice(top, top + height), slice(left, left + width)
    picture = (pixels * 0.5).astype("uint8")
    seen = pixels[inside]
    picture[inside] = views.overlay(seen[None], tf.image.resize(cam[..., None], seen.shape[:2])[None, ..., 0])[0]
    return picture


def _class(name, labels):
    if name in labels:
        return labels.index(name)
    if name.isdecimal() and int(name) < len(labels):
        return int(name)
    raise ValueError(f"--class must be the name of a class, or a number in 0..{len(labels) - 1}. Received: {name!r}")


@explain.command(cls=WithTensorFlow)
@table_options
def gradients(
    model: Model,
    out: Annotated[pathlib.Path, typer.Option(help="Picture to write, .png or .svg.")] = pathlib.Path("gradients.png"),
    source: Annotated[
        str | None, typer.Option("--data", help="As for train. Default: what the run trained on.")
    ] = None,
    data_dir: DataDir = None,
    limit: Annotated[int, typer.Option(min=2, help="Training images to take, in one batch.")] = 128,
    *,
    table,
):
    """Draw how strong a gradient reaches each layer in a training step.

    Example: keras-densenet explain gradients runs/digits --out gradients.png
    """
    import numpy as np

    network, _, _, splits = load_both(model, source, data_dir=data_dir, table=table)
    train = splits.train
    kernels = views.gradient_flow(network, train.images[:limit].astype("float32"), train.labels[:limit])
    views.draw_gradients(kernels, out, str(model))
    third = len(kernels) // 3 or 1
    norms = np.log([kernel.norm for kernel in kernels])
    early, late = np.exp([norms[:third].mean(), norms[-third:].mean()])
    console.print(
        f"{len(kernels)} kernels; geometric mean of the gradients' norms {early:.3g} in the first third, {late:.3g} in "
        f"the last; the picture is in {out}",
    )


@app.command()
def describe(
    network: Annotated[str, typer.Argument(help="A name from `models`, a run's folder, or a .keras file.")],
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Picture of the blocks and their channels to draw, .png or .svg.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="64, HEIGHTxWIDTH or DEPTHxHEIGHTxWIDTH. Default: the network's own.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure each stage's share of the time of inference here.")
    ] = True,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch when measuring.")] = 8,
):
    """Show a network as the paper's table 1, and draw it.

    Example: keras-densenet describe densenet121 --out densenet121.svg
    """
    if measure or out or network not in kd.list_models():
        start_tensorflow()
    if network in kd.list_models():
        model = kd.create_model(network) if measure else network
    elif pathlib.Path(network).exists() or network.endswith(".keras") or pathlib.Path(network).name != network:
        model = views.flat(training.load_model(network)[0])
    else:
        raise ValueError(f"{network!r} is no run's folder, no .keras file and no model: see keras-densenet models")
    shape = None
    if image_size is not None:
        stem = kd.cost(model).stages[0].stage
        shape = (*size_of(image_size, dimensions=len(stem.size)), stem.in_channels)
    seconds = None
    if measure:
        with console.status(f"measuring {batch_size} images, stage by stage"):
            seconds = views.stage_seconds(model, shape, batch_size)
    rows = views.describe(model, shape, seconds)
    columns = ["stage", "output", "layers", "channels", "parameters", "M MACs", *(["time"] if measure else [])]
    table = Table(*columns, right=(4, 5, 6))
    for row in rows:
        channels = f"{row.in_channels} -> {row.out_channels}"
        share = [] if row.share is None else [f"{row.share:.1%}"]
        size, macs = by(row.size), f"{row.macs / 1e6:,.1f}"
        table.add_row(row.name, size, row.layers, channels, f"{row.parameters:,}", macs, *share)
    totals = f"{sum(row.parameters for row in rows):,}", f"{sum(row.macs for row in rows) / 1e6:,.1f}"
    table.add_row("total", "", "", "", *totals, *([] if seconds is None else [f"{sum(seconds) * 1e3:.0f} ms"]))
    console.print(table)
    if seconds is not None:
        console.print(f"time: of {batch_size} images in inference, each stage compiled alone, no XLA")
    if out is not None:
        views.draw_network(model, out, input_shape=shape)
        console.print(f"the picture is in {out}")
