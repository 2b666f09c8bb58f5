"""`keras-densenet export`."""

import hashlib
import pathlib
from typing import Annotated, Any

import typer

from keras_densenet import data, models, serving, training
from keras_densenet.cli.common import command, console
from keras_densenet.cli.loading import Model, read_labels, size_of
from keras_densenet.console import Table


@command()
def export(
    model: Model,
    out: Annotated[pathlib.Path | None, typer.Option(help="Folder of all served models.")] = None,
    name: Annotated[str | None, typer.Option(help="Name to serve it under.")] = None,
    version: Annotated[int | None, typer.Option(help="Version. Default: the next one.")] = None,
    labels: Annotated[
        pathlib.Path | None, typer.Option(help="File of class names, one a line. Default: the run's.")
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Classes in top_labels and top_scores.", min=1, show_default="5, or all of many labels"),
    ] = None,
    levels: Annotated[str, typer.Option(help="Pyramid features in the signature features, such as P3,P4.")] = "",
    preprocessing: Annotated[
        str | None,
        typer.Option(help="torch, caffe or unit, for a model that does not take raw pixels. Default: its own."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH of decoded images, for a model of any size.")] = None,
    max_megapixels: Annotated[float, typer.Option(help="Larger image files are refused.", min=0.001)] = 50,
    fold: Annotated[
        bool, typer.Option(help="Fold batch normalisation away: the same outputs, fewer operations.")
    ] = True,
    activation: Annotated[str | None, typer.Option(help="softmax or sigmoid, for a model that ends in logits.")] = None,
    xla: Annotated[bool, typer.Option("--xla", help="Let the server compile the network with XLA.")] = False,
    precision: Annotated[
        str | None, typer.Option(help="bfloat16, float16 or float32, to compute in. Default: float32.")
    ] = None,
    format: Annotated[str, typer.Option(help="saved_model, litert, onnx or openvino.")] = "saved_model",
    representative: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of images: what LiteRT is quantized to 8 bits with, or 16 bits are compared on."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Load what was written as a server does, and compare.")
    ] = False,
):
    """Write a SavedModel for TensorFlow Serving, or files for another runtime; with --check alone, check a version.

    ONNX and OpenVINO have a file, and a name to serve it under, for each signature: NAME, NAME_uint8, NAME_features.

    Example: keras-densenet export runs/digits --out served --name digits --check

    Example: keras-densenet export served/digits/1 --check
    """
    if out is None:
        if not check:
            raise ValueError("Give --out, a folder to write to, or --check to check a written version")
        return _show(serving.check_saved_model(model))
    if format != "saved_model":
        given: dict[str, Any] = {"--xla": xla, "--max-megapixels": max_megapixels != 50}
        if format == "litert":
            given |= {
                "--labels": labels,
                "--levels": levels,
                "--size": size,
                "--top-k": top_k is not None,
                "--check": check,
            }
        if format != "openvino":
            given |= {"--precision": precision}
        if useless := [option for option, value in given.items() if value]:
            raise ValueError(
                f"{', '.join(useless)} cannot be used with --format {format}, which takes pixels"
                + (" and gives the model's output, and is compared with Keras in any case" * (format == "litert"))
            )
    if representative is not None and format != "litert" and precision not in ("bfloat16", "float16"):
        raise ValueError("--representative is for --format litert, or --precision bfloat16 or float16")
    if xla:
        console.print("--xla: the GPU image of TensorFlow Serving refuses such models")
    network, run_labels = training.load_model(model)
    sides = size_of(size, "--size", len(network.input_shape) - 2)
    images = None
    if representative is not None:
        images = data.read_images(data.files_of([representative]), models.framing_of(network, sides))
    options: dict[str, Any] = {
        "name": name,
        "version": version,
        "preprocessing": preprocessing,
        "folded": fold,
        "activation": activation,
        "representative": images,
        "labels": read_labels(labels, network) if labels else None if format == "litert" else run_labels,
        "top_k": top_k,
        "levels": [level for level in levels.split(",") if level],
        "size": sides,
        "precision": precision,
        "facts": _facts(training.model_file(model)),
    }
    if format != "saved_model":
        with console.status(f"exporting for {format} ..."):
            path, deviation = serving.export_file(network, out, format, **options)
        told = "not checked, its runtime is not installed" if deviation is None else f"off Keras by {deviation:.1e}"
        console.print(f"exported to {path}; {told}", highlight=False, markup=False)
        target = path.parent
    else:
        with console.status("exporting ..."):
            target = serving.export_saved_model(network, out, **options, max_megapixels=max_megapixels, xla=xla)
        console.print(f"exported to {target}", highlight=False, markup=False)
    if check:
        with console.status("checking ..."):
            report = serving.check_saved_model(target)
        _show(report)
    return None


def _facts(file):
    """What the model card tells of a model file and the run that made it."""
    with open(file, "rb") as opened:
        found = {"weights": {"file": file.name, "sha256": hashlib.file_digest(opened, "sha256").hexdigest()}}
    if record := training.load_record(file):
        found |= {"training": record.get("arguments"), "accuracy": record.get("test")}
    return found


def _show(report):
    table = Table("signature", "inputs", "outputs", "first answer", "off Keras by")
    for name, signature in sorted(report.signatures.items()):
        table.add_row(
            name,
            _tensors(signature.inputs),
            _tensors(signature.outputs),
            f"{report.warm_seconds[name]:.2f} s" if name in report.warm_seconds else "",
            f"{report.deviation[name]:.1e}" if name in report.deviation else "",
        )
    console.print(table)
    console.print(
        f"whole, loaded in {report.load_seconds:.2f} s, {report.operations.total():,} operations of "
        f"{len(report.operations)} kinds, every warm-up request answered",
        highlight=False,
    )
    if agreement := report.agreement:
        console.print(
            f"{report.card['precision']}: {agreement.decisions:.1%} of the decisions on {agreement.images} images are "
            f"those of float32, probabilities differ by up to {agreement.difference:.1e}",
            highlight=False,
        )


def _tensors(known):
    import tensorflow as tf

    def text(tensor):
        sides = ("?" if dim.size < 0 else str(dim.size) for dim in tensor.tensor_shape.dim)
        return f"{tf.as_dtype(tensor.dtype).name}({', '.join(sides)})"

    return [f"{name} {text(tensor)}" for name, tensor in sorted(known.items())]
