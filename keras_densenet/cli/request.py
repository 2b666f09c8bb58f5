"""`keras-densenet request`."""

import pathlib
from typing import Annotated

import typer

from keras_densenet.cli.common import app, console
from keras_densenet.console import Table
from keras_densenet.serving import connect


@app.command()
def request(
    url: Annotated[str, typer.Argument(help="http://host:8501/v1/models/NAME or grpc://host:8500/NAME.")],
    images: Annotated[list[pathlib.Path], typer.Argument(help="JPEG or PNG files.")],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 3,
    timeout: Annotated[float, typer.Option(help="Seconds that the request may take.", min=0.001)] = 30.0,
):
    """Ask a running TensorFlow Serving what is in image files.

    Example: keras-densenet request http://localhost:8501/v1/models/digits seven.png
    """
    files = [path.read_bytes() for path in images]
    with console.status(f"asking {url} ..."):
        answer = connect(url, timeout).predict("image_bytes", {"image_bytes": files})
    table = Table("image", "classes, most probable first")
    rows = zip(images, *(answer[name] for name in ("ok", "error", "top_labels", "top_scores")), strict=True)
    for path, ok, error, labels, scores in rows:
        best = "  ".join(f"{label} {score:.1%}" for label, score in list(zip(labels, scores, strict=True))[:top])
        table.add_row(str(path), best if ok else error)
    console.print(table)
    if not all(answer["ok"]):
        raise typer.Exit(1)
