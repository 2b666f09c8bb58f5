"""Encoded images as arrays: one decoder for folders, tables, TensorFlow Datasets, predictions and exports."""

import concurrent.futures
import dataclasses
import functools
import io
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_densenet.data.arrays import (
    ORIENTATION,
    as_pixels,
    contents,
    deep_pixels,
    is_deep,
    with_channels,
)
from keras_densenet.data.boxes import framed
from keras_densenet.data.headers import UNKNOWN, Fault
from keras_densenet.data.progress import watched
from keras_densenet.ops import Framing
from keras_densenet.types import Array, Path, Shape

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
NAMES = {1: "a signal", 2: "an image", 3: "a volume"}
IN_MEMORY = 2**30  # bytes of pixels that may stay in memory

NO_IMAGE = "not an image that Pillow reads"
ANIMATED = "animated"
DEEP = "with 32-bit pixels, whose range is not known"


@functools.cache
def formats():
    """Pillow's names of the formats that are read: all that it reads by itself."""
    image = pillow().Image
    image.init()
    return tuple(name for name in image.OPEN if name not in ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"))


def pillow():
    """The package PIL, with the modules that are used here."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("Image files need Pillow: pip install 'keras-densenet[cli]'") from None
    return PIL


def open_image(record):
    """Opens an image lazily: a file's path, its bytes, or an array that `is_plain`.

    An image may be turned by its EXIF block only; what other places say of it is dropped.
    """
    PIL = pillow()
    if isinstance(record, np.ndarray):
        return PIL.Image.fromarray(record[..., 0] if record.shape[-1] == 1 else record)
    image = PIL.Image.open(io.BytesIO(record) if isinstance(record, bytes) else record, formats=formats())
    for other in ("XML:com.adobe.xmp", "xmp", "Raw profile type exif"):
        image.info.pop(other, None)
    return image


def is_plain(array):
    """Whether an array `(height, width, channels)` is what Pillow's images hold."""
    return array.dtype == "uint8" and array.shape[-1] in MODES


def faults(image):
    """What forbids to use an open image: some of `ANIMATED` (whose frame?) and `DEEP`."""
    is_animated = getattr(image, "is_animated", False) and image.format != "MPO"  # a photo and its preview
    return [fault for fault, found in ((ANIMATED, is_animated), (DEEP, image.mode in ("I", "F"))) if found]


def decode(record, framing, box=None):
    """Decodes one image as a `Framing` says.

    Args:
        record: a file's path, its bytes, or an array `(*sizes, channels)`. CMYK becomes RGB, transparency is dropped.
            What a file is follows from its first bytes, whatever it is called.
        framing: a `Framing`.
        box: a function from the upright image's height and width, or a volume's sizes, to starts and lengths of a box
            of your own.

    Returns:
        `(height, width, channels)`, uint8 of 8 bits a value, otherwise float32: 16-bit images in 0..255 with fractions,
        so that a network's preprocessing fits files of either depth; see `arrays` for DICOM and arrays. Signals and
        volumes are float32, in their own units.

    Raises:
        ValueError: for an image with `faults`, or what Pillow cannot decode.
        OSError: the same.
    """
    record, _ = contents(record, framing.dimensions)
    if framing.dimensions != 2:
        if not isinstance(record, np.ndarray):
            raise Fault(UNKNOWN)
        return framed(record, framing, box)
    if isinstance(record, np.ndarray) and not is_plain(record):
        return _framed(as_pixels(record), framing, box)
    if framing.channels not in MODES:
        raise ValueError(f"it can be read for 1, 3 or 4 channels, not {framing.channels}")
    PIL = pillow()
    with open_image(record) as image:
        if found := faults(image):
            raise ValueError(f"it is {found[0]}")
        if is_deep(image):
            return _framed(deep_pixels(image, record), framing, box)
        turned = image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        height, width = image.size if turned else image.size[::-1]
        part = (box or framing.box)(height, width)
        if framing.size is not None:
            factor = framing.reduction(part)
            image.draft(None, (image.width // factor, image.height // factor))
        PIL.ImageOps.exif_transpose(image, in_place=True)
        y, x = image.height / height, image.width / width
        image = _converted(image, MODES[framing.channels])
        if framing.size is not None:
            image = _resized(image, [length * scale for length, scale in zip(part, (y, x, y, x), strict=True)], framing)
        return np.asarray(image).reshape(image.height, image.width, framing.channels)


def _framed(pixels, framing, box):
    """Float32 pixels as a framing says, each channel by itself."""
    pixels = with_channels(pixels, framing.channels)
    if framing.size is None:
        return pixels
    part = (box or framing.box)(*pixels.shape[:2])
    bands = [pillow().Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(pixels, -1, 0)]
    return np.stack([np.asarray(_resized(band, part, framing)) for band in bands], -1)


def _resized(image, box, framing):
    """A box of an image in a framing's size: columns first, as `ops.resize_box`; releases of Pillow differ in that."""
    (top, left, height, width), size = box, framing.size
    right, bottom = min(left + width, image.width), min(top + height, image.height)
    reach = 2 * max(1, height / size[0]) + 1  # of the filter
    first, last = max(0, int(top - reach)), min(image.height, int(bottom + reach) + 1)
    filtered = pillow().Image.Resampling[framing.interpolation.upper()]
    image = image.resize((size[1], last - first), filtered, (left, first, right, last))
    return image.resize(size[::-1], filtered, (0, top - first, size[1], bottom - first))


def _converted(image, mode):
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Encoded images that are decoded when asked for, by index like an array: `pictures[:10]`.

    Args:
        keys: an array with a key for each image.
        framing: a `Framing` with a size.
        read: a function from a key to what `decode` takes; by default the keys are that themselves.
        dtype: "float32" if some have more than 8 bits a value, or another number of bands than 1, 3 or 4.

    Examples:
        >>> files = [path.read_bytes() for path in kd.data.files_of(["photos"])]
        >>> pictures = kd.data.Pictures(np.array(files, object), kd.data.Framing((16, 16), 3))
        >>> pictures.shape, pictures[:2].shape  # only two are decoded
        ((16, 16, 16, 3), (2, 16, 16, 3))
    """

    keys: Array
    framing: Framing
    read: Callable[[Any], Any] = lambda key: key
    dtype: Any = "uint8"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.keys), *(self.framing.size or ()), self.framing.channels)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, which: Any) -> Array:
        return self.decode(self.keys[which])

    def decode(self, keys: Any, boxes: Sequence[Any] | None = None) -> Array:
        """The images of some keys, or of one; with a function for `decode`'s box for each."""
        if np.ndim(keys) == 0:
            return decode(self.read(keys), self.framing).astype(self.dtype, copy=False)
        jobs = zip(keys, boxes or [None] * len(keys), strict=True)
        workers = None if self.framing.dimensions == 2 else os.cpu_count()  # a volume takes its time and its memory
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:  # Pillow decodes without Python's lock
            found = pool.map(lambda job: decode(self.read(job[0]), self.framing, job[1]), jobs)
            empty = np.empty((0, *self.shape[1:]), self.dtype)
            return np.stack([*found]).astype(self.dtype, copy=False) if len(keys) else empty

    def only(self, which: Array) -> "Pictures":
        """The pictures of some indices."""
        return dataclasses.replace(self, keys=self.keys[which])

    def settled(self) -> "Array | Pictures":
        """All of them as an array if that may stay in memory, otherwise themselves."""
        if np.prod(self.shape) * self.dtype.itemsize > IN_MEMORY:
            return self
        parts = [self.keys[start : start + 500] for start in range(0, len(self), 500)]
        images = [self.decode(keys) for keys in watched(parts, "decoding", len(parts))]
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *images])


def as_pictures(images, framing=None):
    """`Pictures` of an array, by default as it is."""
    framing = framing or Framing(images.shape[1:-1], images.shape[-1])
    plain = framing.dimensions == 2 and is_plain(images)
    return Pictures(np.arange(len(images)), framing, images.__getitem__, "uint8" if plain else "float32")


def read_images(files: Iterable[Path | bytes], framing: Framing | Shape) -> Array:
    """Decodes image files, signals or volumes for a network, as training on a folder of them does.

    Args:
        files: paths, or contents, of files in any format that Pillow reads, of DICOM, of NumPy's `.npy` or `.npz` (of
            one array), or of NIfTI.
        framing: how a file becomes the network's input, such as its `framing`; or the `(*sizes, channels)` that it
            expects, for a `Framing` of that size. Without a size, all images must be of one.

    Returns:
        float32 `(images, height, width, channels)` in 0..255, of 16 bits with fractions; `.npy` of floats, and DICOM
        with a rescale slope and no window, in their own range. Signals `(signals, length, channels)` and volumes
        `(volumes, depth, height, width, channels)` in their own range.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a file that cannot be decoded, or another number of channels.

    Examples:
        >>> kd.data.read_images(kd.data.files_of(["photos"]), (16, 16, 3)).shape
        (16, 16, 16, 3)
    """
    if not isinstance(framing, Framing):
        *size, channels = framing
        assert channels is not None
        framing = Framing(None if None in size else [side for side in size if side], channels, dimensions=len(size))
    PIL, found, what = pillow(), [], NAMES[framing.dimensions or 2]
    for file in files:
        try:
            found.append(decode(file, framing))
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no image {str(file)!r}") from None
        except PIL.UnidentifiedImageError:
            raise ValueError(f"{_named(file)} cannot be decoded as {what}: {NO_IMAGE}") from None
        except (PIL.Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError) as error:
            raise ValueError(f"{_named(file)} cannot be decoded as {what}: {error}") from None
    if len({image.shape for image in found}) > 1:
        raise ValueError("The network takes any size, but all images of one call must be of the same")
    return np.stack(found).astype("float32")


def _named(file):
    return "The file" if isinstance(file, bytes) else repr(str(file))
