"""Any data set by one name."""

import os
import pathlib
from typing import Any

from keras_densenet.data.digits import load_digits
from keras_densenet.data.folder import load_folder
from keras_densenet.data.images import MODES, as_pictures
from keras_densenet.data.named import load_fashion_mnist, load_named
from keras_densenet.data.splits import Splits
from keras_densenet.ops import Framing
from keras_densenet.types import Path, Size

DIGITS, FASHION_MNIST = BUILT_IN = "digits", "fashion_mnist"  # whatever folders of these names there are


def absolute(source: Path, directory: Path = "") -> str:
    """The name of a data set that means the same in any working directory.

    Args:
        source: as for `load`.
        directory: in which it means what it means. Default: the working directory.

    Returns:
        The absolute path of a folder, other names as they are.
    """
    folder = pathlib.Path(directory, source)
    return os.path.abspath(folder) if source not in BUILT_IN and folder.is_dir() else os.fspath(source)


def load(
    source: Path,
    *,
    image_size: Size | None = None,
    channels: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    data_dir: Path | None = None,
    validation: float = 0.1,
    crop_pct: float | None = None,
    interpolation: str = "bilinear",
) -> Splits:
    """Loads a data set.

    Args:
        source: "digits"; "fashion_mnist", from IDX files in `data_dir` or of Debian's `dataset-fashion-mnist`; the path
            of a folder of images, see `load_folder`; or any image-classification name of TensorFlow Datasets, such
            as "cifar10", which is downloaded if it is not on disk.
        image_size: int or `(height, width)` that every image gets. Default: the images' own size if they all have one,
            otherwise 224.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA). Default: the images' own.
        seed: of what is held out for validation and test, where the source does not say. Give the same to train and
            to evaluate.
        skip_bad: whether to go on without bad data, which is an error otherwise.
        data_dir: for Fashion-MNIST the folder of the IDX files; for TensorFlow Datasets where it keeps its data.
        validation: share of the training images to hold out where the source has no validation images; 0 validates on
            the test images.
        crop_pct, interpolation: how an image of another size becomes one of `image_size`, as in `Framing`.

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
    size = (image_size, image_size) if isinstance(image_size, int) else image_size and tuple(image_size)
    if size and min(size) < 1:
        raise ValueError(f"image_size must be at least 1. Received: image_size={image_size}")
    if channels not in (None, *MODES):
        raise ValueError(f"channels must be 1, 3 or 4. Received: channels={channels}")
    framing: dict[str, Any] = {"crop_pct": crop_pct, "interpolation": interpolation}
    options = {"size": size, "channels": channels, "seed": seed, "skip_bad": skip_bad, "validation": validation}
    options |= framing
    source = os.fspath(source)
    folder = pathlib.Path(source).expanduser()
    if data_dir is not None and (source == DIGITS or (source != FASHION_MNIST and folder.is_dir())):
        raise ValueError(
            f"data_dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for {source!r}. "
            f"Received: data_dir={str(data_dir)!r}"
        )
    if source == DIGITS:
        return _refitted(load_digits(), size, channels, framing)
    if source == FASHION_MNIST:
        return load_fashion_mnist(data_dir, **options)
    if folder.is_dir():
        return load_folder(folder, **options)
    if folder.is_absolute() or source.startswith((".", "~")):
        raise FileNotFoundError(f"There is no folder {source!r}")
    return load_named(source, data_dir, **options)


def _refitted(splits, size, channels, framing):
    height, width, own = splits.train.images.shape[1:]
    framing = Framing(size or (height, width), channels or own, **framing)
    if size or channels:
        parts = [part._replace(images=as_pictures(part.images, framing).settled()) for part in splits[:3]]
        splits = splits._replace(train=parts[0], validation=parts[1], test=parts[2])
    return splits._replace(framing=framing)
