"""Encoded images as arrays: one decoder for folders, TensorFlow Datasets and predictions."""

import concurrent.futures
import dataclasses
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_densenet.data.progress import watched
from keras_densenet.types import Array, ImageShape, Path

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
PHOTO, PHOTO_CROP = 128, 0.875
IN_MEMORY = 2**30  # bytes of pixels that may stay in memory
ORIENTATION = 0x0112  # the EXIF tag


def pillow():
    """The package PIL, with the modules that are used here."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("Image files need Pillow: pip install 'keras-densenet[cli]'") from None
    return PIL


def open_image(record):
    """Opens an image lazily: a file's path, its bytes, or an array `(height, width, channels)` in 0..255."""
    PIL = pillow()
    if isinstance(record, np.ndarray):
        pixels = record.round().astype("uint8") if record.dtype != "uint8" else record
        return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return PIL.Image.open(io.BytesIO(record) if isinstance(record, bytes) else record)


def decode(record, size, channels, crop=None, box=None):
    """Decodes one image upright, cuts a box out of it and resizes that (bilinear, antialiased).

    Args:
        record: as for `open_image`. CMYK becomes RGB, 16 bits become 8.
        size: `(height, width)` to give it, or None to leave it as it is.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        crop: for the largest box in the centre with the shape of `size`, the share of its sides that is kept. Default:
            0.875 from 128 pixels on, as ImageNet's evaluation cuts 224 of 256, otherwise 1. An image that has its
            size already is left alone.
        box: a function from the upright image's `(height, width)` to a box `(top, left, height, width)` of your own.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        ValueError: for 32-bit pixels, whose range is not known, or what Pillow cannot decode.
        OSError: the same.
    """
    PIL = pillow()
    with open_image(record) as image:
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        height, width = image.size if turned else image.size[::-1]
        if size is not None and (box is not None or (height, width) != tuple(size)):
            top, left, box_height, box_width = (box or functools.partial(centre, size=size, crop=crop))(height, width)
            shrink = max(1, min(box_height / size[0], box_width / size[1]) / 2)
            image.draft(None, (int(image.width / shrink), int(image.height / shrink)))  # a JPEG decodes smaller faster
        else:
            top, left, box_height, box_width = 0, 0, height, width
        PIL.ImageOps.exif_transpose(image, in_place=True)
        y, x = image.height / height, image.width / width
        image = _converted(image, MODES[channels])
        if size is not None and (image.size != (size[1], size[0]) or box is not None):
            edges = (left * x, top * y, (left + box_width) * x, (top + box_height) * y)
            image = image.resize(size[::-1], PIL.Image.Resampling.BILINEAR, edges, reducing_gap=2.0)
        return np.asarray(image).reshape(image.height, image.width, channels)


def centre(height, width, size, crop=None):
    """The box `(top, left, height, width)` in the centre of an image that `decode` cuts out."""
    crop = crop or (PHOTO_CROP if min(size) >= PHOTO else 1)
    scale = crop * min(height / size[0], width / size[1])
    box_height, box_width = scale * size[0], scale * size[1]
    return (height - box_height) / 2, (width - box_width) / 2, box_height, box_width


def _converted(image, mode):
    if image.mode.startswith("I;16"):
        image = pillow().Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}); convert them to 8 or 16")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Encoded images that are decoded when asked for, by index like an array: `pictures[:10]`.

    Args:
        keys: an array with a key for each image.
        size: `(height, width)` that every image gets.
        channels: 1, 3 or 4.
        read: a function from a key to what `open_image` takes; by default the keys are that themselves.
        crop: as for `decode`.
    """

    keys: Array
    size: tuple[int, int]
    channels: int
    read: Callable[[Any], Any] = lambda key: key
    crop: float | None = None
    dtype = np.dtype("uint8")

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.keys), *self.size, self.channels)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which: Any) -> Array:
        return self.decode(self.keys[which])

    def decode(self, keys: Any, boxes: Sequence[Any] | None = None) -> Array:
        """The images of some keys, or of one; with a function for `decode`'s box for each."""
        if np.ndim(keys) == 0:
            return decode(self.read(keys), self.size, self.channels, self.crop)
        jobs = zip(keys, boxes or [None] * len(keys), strict=True)
        with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            found = pool.map(lambda job: decode(self.read(job[0]), self.size, self.channels, self.crop, job[1]), jobs)
            return np.stack([*found]) if len(keys) else np.empty((0, *self.shape[1:]), self.dtype)

    def only(self, which: Array) -> "Pictures":
        """The pictures of some indices."""
        return dataclasses.replace(self, keys=self.keys[which])

    def settled(self) -> "Array | Pictures":
        """All of them as an array if that may stay in memory, otherwise themselves."""
        if np.prod(self.shape) > IN_MEMORY:
            return self
        parts = [self.keys[start : start + 500] for start in range(0, len(self), 500)]
        images = [self.decode(keys) for keys in watched(parts, "decoding", len(parts))]
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *images])


def as_pictures(images, size=None, channels=None):
    """`Pictures` of an array, by default of its own size and channels."""
    return Pictures(
        np.arange(len(images)), tuple(size or images.shape[1:3]), channels or images.shape[3], images.__getitem__
    )


def read_images(paths: Iterable[Path], shape: ImageShape, crop: float | None = None) -> Array:
    """Decodes image files for a network, as evaluation on a folder of images does.

    Args:
        paths: files of any format that Pillow reads.
        shape: `(height, width, channels)` that the network expects; images are cut in the centre and resized
            (bilinear), and turned into grey (1 channel), RGB (3) or RGBA (4). Sizes may be None if all images are of
            one size.
        crop: as for `decode`.

    Returns:
        float32 `(images, height, width, channels)` in 0..255.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a file that cannot be decoded, or another number of channels.
    """
    *size, channels = shape
    if channels not in MODES:
        raise ValueError(f"Image files can be read for 1, 3 or 4 channels. Received: a network with {channels}")
    PIL, found = pillow(), []
    for path in paths:
        try:
            found.append(decode(path, None if None in size else size, channels, crop))
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no image {str(path)!r}") from None
        except (PIL.Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{str(path)!r} cannot be decoded as an image: {error}") from None
    if len({image.shape for image in found}) > 1:
        raise ValueError("The network takes any size, but all images of one call must be of the same")
    return np.stack(found).astype("float32")
