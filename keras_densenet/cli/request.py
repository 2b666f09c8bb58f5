"""`keras-densenet request`."""

import json
from typing import Annotated

import typer

from keras_densenet import serving
from keras_densenet.cli.common import command, console
from keras_densenet.cli.predict import image_files, told
from keras_densenet.console import Table


@command()
def request(
    url: Annotated[str, typer.Argument(help="http://host:8501/v1/models/NAME or grpc://host:8500/NAME.")],
    images: Annotated[
        list[str], typer.Argument(help="JPEG or PNG files, folders of them, or - for paths on standard input.")
    ],
    top: Annotated[
        int | None, typer.Option(help="How many classes to show.", min=1, show_default="3, or all of many labels")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a request.")] = 32,
    timeout: Annotated[float, typer.Option(help="Seconds that a request may take.", min=0.001)] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line instead of a table.")] = False,
):
    """Ask a running TensorFlow Serving what is in images.

    Example: keras-densenet request http://localhost:8501/v1/models/digits seven.png photos/ --json
    """
    paths, client = image_files(images), serving.connect(url, timeout)
    table, all_ok = Table("image", "most probable first"), True
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        with console.status(f"asking {url} ..."):
            files = [path.read_bytes() for path in batch]
            answer = client.predict("image_bytes", {"image_bytes": files})
        for index, path in enumerate(batch):
            ok, error = bool(answer["ok"][index]), str(answer["error"][index])
            best = _best({name: values[index] for name, values in answer.items()}, top)
            all_ok &= ok
            if as_json:
                print(json.dumps({"image": str(path), **({"predictions": best} if ok else {"error": error})}))
            else:
                table.add_row(str(path), told(best) if ok else error)
    if not as_json:
        console.print(table)
    if not all_ok:
        raise typer.Exit(1)


def _best(answer, top):
    """What the server says of one image, as dicts: with "positive" where an image may have many labels."""
    columns = {"label": answer["top_labels"].tolist(), "probability": answer["top_scores"].tolist()}
    if "top_positive" in answer:
        columns["positive"] = answer["top_positive"].tolist()
    found = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True) if row[0]]
    return found[: top or (None if "positive" in columns else 3)]
