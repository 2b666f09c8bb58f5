"""Which files are images."""

import functools
import pathlib
from collections.abc import Iterable

from keras_densenet.data.headers import is_called_array, kind_of
from keras_densenet.data.images import formats, pillow
from keras_densenet.types import Path


def list_images(folder: Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """The images in a folder and its subfolders, and its other files; hidden ones are neither.

    An image has the ending of a format that is read, or begins like one whatever its ending is.

    Args:
        folder: its path.

    Returns:
        Two sorted lists of paths.

    Examples:
        >>> found, others = kd.data.list_images("photos")
        >>> len(found), others
        (16, [])
    """
    folder = pathlib.Path(folder)
    images: list[pathlib.Path] = []
    others: list[pathlib.Path] = []
    for file in sorted(folder.rglob("*")):
        if not file.is_dir() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            (images if is_image(file) else others).append(file)
    return images, others


def is_image(file):
    """Whether a file claims to be an image that is read; it may still be damaged."""
    if file.suffix.lower() in _endings() or is_called_array(file):
        return True
    PIL = pillow()
    told_by_bytes = [name for name in formats() if PIL.Image.OPEN[name][1] is not None]
    try:
        if kind_of(file):
            return True
        with PIL.Image.open(file, formats=told_by_bytes):
            return True
    except PIL.Image.DecompressionBombError:
        return True
    except (OSError, SyntaxError, ValueError):
        return False


@functools.cache
def _endings():
    known = pillow().Image.registered_extensions()
    return {ending for ending, name in known.items() if name in formats()}


def files_of(arguments: Iterable[Path]) -> list[pathlib.Path]:
    """The image files that paths stand for: files as they are, folders for the images in them.

    Args:
        arguments: paths.

    Raises:
        ValueError: for a folder without images.

    Examples:
        >>> [path.as_posix() for path in kd.data.files_of(["photos"])][:2]
        ['photos/cat/000.png', 'photos/cat/001.png']
    """
    found: list[pathlib.Path] = []
    for argument in map(pathlib.Path, arguments):
        inside = list_images(argument)[0] if argument.is_dir() else [argument]
        if not inside:
            raise ValueError(f"There are no images in the folder {str(argument)!r}")
        found += inside
    return found
