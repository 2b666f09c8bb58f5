"""`keras-densenet request`."""

import json
from typing import Annotated

import typer

from keras_densenet import serving
from keras_densenet.cli.common import command, console
from keras_densenet.cli.predict import image_files
from keras_densenet.console import Table


@command()
def request(
    url: Annotated[str, typer.Argument(help="http://host:8501/v1/models/NAME or grpc://host:8500/NAME.")],
    images: Annotated[
        list[str], typer.Argument(help="JPEG or PNG files, folders of them, or - for paths on standard input.")
    ],
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a request.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.", min=0.001)] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
):
    """Ask a running TensorFlow Serving what is in images.

    Example: keras-densenet request http://localhost:8501/v1/models/digits seven.png photos/ --json
    """
    paths, client, table = (
        image_files(images),
        serving.connect(url, timeout),
        Table("image", "classes, most probable first"),
    )
    all_ok = True
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        with console.status(f"asking {url} ..."):
            files = [path.read_bytes() for path in batch]
            answer = client.predict("image_bytes", {"image_bytes": files})
        rows = zip(batch, *(answer[name] for name in ("ok", "error", "top_labels", "top_scores")), strict=True)
        for path, ok, error, labels, scores in rows:
            best = list(zip(map(str, labels), map(float, scores), strict=True))[:top]
            all_ok &= bool(ok)
            if as_json:
                named = [{"label": label, "probability": score} for label, score in best]
                print(json.dumps({"image": str(path), **({"predictions": named} if ok else {"error": str(error)})}))
            else:
                told = "  ".join(f"{label} {score:.1%}" for label, score in best)
                table.add_row(str(path), told if ok else str(error))
    if not as_json:
        console.print(table)
    if not all_ok:
        raise typer.Exit(1)
