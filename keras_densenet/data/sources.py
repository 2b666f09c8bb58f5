"""Any data set by one name."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_densenet.architecture import sides
from keras_densenet.data.digits import load_digits
from keras_densenet.data.folder import list_folder
from keras_densenet.data.images import MODES, as_pictures
from keras_densenet.data.labelled import splits_of
from keras_densenet.data.named import load_fashion_mnist, load_named
from keras_densenet.data.splits import Splits
from keras_densenet.data.table import TABLES, list_table
from keras_densenet.ops import Framing
from keras_densenet.types import Path, Size

DIGITS, FASHION_MNIST = BUILT_IN = "digits", "fashion_mnist"  # whatever folders of these names there are


def described(source: Path | Mapping[str, Any], **options: Any) -> str | dict[str, Any]:
    """What `load` knows a data set by, for JSON: its name, or a dict of "source" and those options that are given."""
    said = [*options_of(source).items(), *options.items()]
    given = {name: value for name, value in said if value not in (None, {})}
    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
    return given if len(given) > 1 else given["source"]


def options_of(source: Path | Mapping[str, Any]) -> dict[str, Any]:
    """What a data set's name or dict says, as a dict."""
    return {**source} if isinstance(source, Mapping) else {"source": source}


def name_of(source: Path | Mapping[str, Any]) -> str:
    """What to call a data set that was `described`."""
    return os.fspath(options_of(source)["source"])


def absolute(source: Path | Mapping[str, Any], directory: Path = "") -> str | dict[str, Any]:
    """The name of a data set that means the same in any working directory.

    Args:
        source: as for `load`.
        directory: in which it means what it means. Default: the working directory.

    Returns:
        The absolute path of a folder or table, other names as they are; a dict with absolute paths for a dict.
    """
    if isinstance(source, Mapping):
        paths = {name: absolute(source[name], directory) for name in ("source", "images") if source.get(name)}
        return {**source, **paths}
    path = pathlib.Path(directory, source)
    return os.path.abspath(path) if source not in BUILT_IN and path.exists() else os.fspath(source)


def load(
    source: Path | Mapping[str, Any],
    *,
    image_size: Size | None = None,
    channels: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    data_dir: Path | None = None,
    validation: float = 0.1,
    crop_pct: float | None = None,
    interpolation: str = "bilinear",
    dimensions: int | None = None,
    images: Path | None = None,
    uncertain: str | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
) -> Splits:
    """Loads a data set.

    Args:
        source: "digits"; "fashion_mnist", from IDX files in `data_dir` or of Debian's `dataset-fashion-mnist`; the path
            of a folder of images, signals or volumes, see `list_folder`; of a table (`.csv`, `.tsv`), see `list_table`;
            or any image-classification name of TensorFlow Datasets, such as "cifar10", which is downloaded if it is not
            on disk. Or a dict of "source", "images", "uncertain" and "columns", as the `run.json` of a run on a table
            has.
        image_size: int or `(height, width)` that every image gets, `(length,)` of signals, `(depth, height, width)` of
            volumes. Default: the images' own size if they all have one, otherwise 224.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA); of arrays any number that they have. Default: the images' own.
        seed: of what is held out for validation and test, where the source does not say. Give the same to train and
            to evaluate.
        skip_bad: whether to go on without bad data, which is an error otherwise.
        data_dir: for Fashion-MNIST the folder of the IDX files; for TensorFlow Datasets where it keeps its data.
        validation: share of the training images to hold out where the source has no validation images; 0 validates on
            the test images.
        crop_pct, interpolation: how an image of another size becomes one of `image_size`, as in `Framing`.
        dimensions: 1 of signals, 2 of images, 3 of volumes. Default: as many as `image_size` has; or what most files
            are, where plain arrays of two or three axes are images.
        images: of a table, the folder that its paths are in. Default: the table's.
        uncertain: of a table with a column for each label, what -1 means: "ignore" (unknown, the default), "positive"
            or "negative".
        columns: of a table, the names of its columns that do not say by themselves what they are: a dict from "path",
            "label", "split" or "group" to a name, "label" also to several, "" for none.

    Returns:
        `Splits`.

    Raises:
        ValueError: for a source that is not known, or bad data, with a list of it.
        OSError: for data that is not there.

    Examples:
        >>> splits = kd.data.load("photos", image_size=16)  # a folder with the images of each class in a subfolder
        >>> splits.labels, splits.train.images.shape[1:]
        (['cat', 'dog'], (16, 16, 3))
    """
    of_table = options_of(described(source, images=images, uncertain=uncertain, columns=columns))
    name = of_table.pop("source")
    size = image_size if image_size is None or isinstance(image_size, int) else tuple(map(int, image_size))
    if size is not None and min(np.atleast_1d(size)) < 1:
        raise ValueError(f"image_size must be at least 1. Received: image_size={image_size}")
    wanted = dimensions or (len(size) if isinstance(size, tuple) else None)
    if wanted not in (None, 1, 2, 3) or (isinstance(size, tuple) and len(size) != wanted):
        raise ValueError(
            "dimensions must be 1 (signals), 2 (images) or 3 (volumes), and image_size have as many. "
            f"Received: dimensions={dimensions}, image_size={image_size}"
        )
    framing: dict[str, Any] = {"crop_pct": crop_pct, "interpolation": interpolation}
    options = {"size": size, "channels": channels, "seed": seed, "skip_bad": skip_bad, "validation": validation}
    options |= framing
    folder = pathlib.Path(name).expanduser()
    is_table = folder.suffix.lower() in TABLES and not folder.is_dir()
    if of_table and not is_table:
        option = next(iter(of_table))
        raise ValueError(f"{option} must be left out of what is no table ({', '.join(TABLES)}). Received: {name!r}")
    if data_dir is not None and (is_table or name == DIGITS or (name != FASHION_MNIST and folder.is_dir())):
        raise ValueError(
            f"data_dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for {name!r}. "
            f"Received: data_dir={str(data_dir)!r}"
        )
    if is_table:
        return splits_of(list_table(folder, **of_table), **options, dimensions=wanted)
    if folder.is_dir() and name not in BUILT_IN:
        return splits_of(list_folder(folder), **options, dimensions=wanted)
    if wanted not in (None, 2):
        raise ValueError(f"signals and volumes come from a folder or a table. Received: {name!r}")
    options["size"] = size = size and sides(size)
    if channels not in (None, *MODES):
        raise ValueError(f"channels must be 1, 3 or 4. Received: channels={channels}")
    if name == DIGITS:
        return _refitted(load_digits(), size, channels, framing)
    if name == FASHION_MNIST:
        return load_fashion_mnist(data_dir, **options)
    if folder.is_absolute() or name.startswith((".", "~")):
        raise FileNotFoundError(f"There is no folder {name!r}")
    return load_named(name, data_dir, **options)


def _refitted(splits, size, channels, framing):
    height, width, own = splits.train.images.shape[1:]
    framing = Framing(size or (height, width), channels or own, **framing)
    if size or channels:
        levels = [part.images.round().astype("uint8") for part in splits[:3]]
        parts = [
            part._replace(images=as_pictures(images, framing).settled())
            for part, images in zip(splits[:3], levels, strict=True)
        ]
        splits = splits._replace(train=parts[0], validation=parts[1], test=parts[2])
    return splits._replace(framing=framing)
