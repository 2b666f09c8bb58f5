"""Files that are whole or not there at all."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def written_beside(path):
    """Lets the caller write a file or folder beside `path`, and renames it to `path` when that went well.

    Args:
        path: where the file or folder shall appear; its parent is made. A file that is there is replaced, a folder
            must not be there.

    Yields:
        A `pathlib.Path` that ends like `path` and does not exist yet.

    Raises:
        OSError: if the parent cannot be written to.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = pathlib.Path(folder) / path.name
        yield beside
        os.replace(beside, path)
