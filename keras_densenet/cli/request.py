"""`keras-densenet request`."""

import json
from typing import Annotated

import typer

from keras_densenet import data, serving
from keras_densenet.architecture import by
from keras_densenet.cli.common import command, console
from keras_densenet.cli.predict import image_files, told
from keras_densenet.console import Table


@command()
def request(
    url: Annotated[str, typer.Argument(help="http://host:8501/v1/models/NAME or grpc://host:8500/NAME.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="JPEG or PNG files, of volumes and signals .npy, .npz or NIfTI; folders of them, or - for paths on "
            "standard input."
        ),
    ],
    top: Annotated[
        int | None, typer.Option(help="How many classes to show.", min=1, show_default="3, or all of many labels")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a request.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.", min=0.001)] = 30.0,
    interpolation: Annotated[
        str | None,
        typer.Option(
            help="How volumes and signals of other sizes get the model's, as in training: bilinear, bicubic or none.",
            show_default="they are refused",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
):
    """Ask a running TensorFlow Serving what is in images, volumes or signals.

    Example: keras-densenet request http://localhost:8501/v1/models/digits seven.png photos/ --json
    """
    paths, client = image_files(images), serving.connect(url, timeout)
    with console.status(f"asking {url} ..."):
        shape, is_of_files = _input(client)
    if is_of_files and interpolation:
        raise ValueError("--interpolation is for volumes and signals: image files get their size from the server")
    table, all_ok = Table("image", "most probable first"), True
    batch_size = batch_size if is_of_files or None not in shape else 1  # each may have a size of its own
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        with console.status(f"asking {url} ..."):
            answers = _of_files(client, batch) if is_of_files else _of_arrays(client, batch, shape, interpolation)
        for path, answer, error in answers:
            best = None if error else _best(answer, top)
            all_ok &= not error
            if as_json:
                print(json.dumps({"image": str(path), **({"error": error} if error else {"predictions": best})}))
            else:
                table.add_row(str(path), error or told(best))
    if not as_json:
        console.print(table)
    if not all_ok:
        raise typer.Exit(1)


def _input(client):
    """The shape of what the model takes, `(*sizes, channels)`, and whether it decodes image files."""
    signatures = client.inputs()
    try:
        return signatures["serving_default"]["image"][1:], "image_bytes" in signatures
    except KeyError:
        raise ValueError(f"The model must be one that `export` wrote. Received: {signatures}") from None


def _of_files(client, paths):
    """Has the server decode files -> a list of `(path, answer, error)`."""
    answer = client.predict("image_bytes", {"image_bytes": [path.read_bytes() for path in paths]})
    errors = [None if ok else str(error) for ok, error in zip(answer["ok"], answer["error"], strict=True)]
    return list(zip(paths, _rows(answer), errors, strict=True))


def _of_arrays(client, paths, shape, interpolation):
    """Reads files here and sends what they hold -> the same."""
    import numpy as np

    arrays, errors = zip(*(_read(path, shape, interpolation) for path in paths), strict=True)
    good = [array for array, error in zip(arrays, errors, strict=True) if not error]
    answers = iter(_rows(client.predict("serving_default", {"image": np.stack(good)})) if good else [])
    return [(path, None if error else next(answers), error) for path, error in zip(paths, errors, strict=True)]


def _read(path, shape, interpolation):
    """What a file holds as an array of that shape and None, or None and what is wrong with it."""
    *size, channels = shape
    wanted = size if interpolation and None not in size else None
    framing = data.Framing(wanted, channels, interpolation=interpolation or "bilinear", dimensions=len(size))
    try:
        (array,) = data.read_images([path], framing)
    except ValueError as error:
        return None, str(error)
    if any(side not in (None, length) for side, length in zip(size, array.shape, strict=False)):
        received = f"It is {by(array.shape[:-1])}, the model takes {by(side or 'any' for side in size)}"
        return None, f"{received}: give --interpolation, as in training"
    return array, None


def _rows(answer):
    return [dict(zip(answer, row, strict=True)) for row in zip(*answer.values(), strict=True)]


def _best(answer, top):
    """What the server says of one image, as dicts: with "positive" where an image may have many labels."""
    columns = {"label": answer["top_labels"].tolist(), "probability": answer["top_scores"].tolist()}
    if "top_positive" in answer:
        columns["positive"] = answer["top_positive"].tolist()
    found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True) if row[0]]
    return found[: top or (None if "positive" in columns else 3)]
