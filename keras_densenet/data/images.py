"""Encoded images as arrays: one decoder for folders, TensorFlow Datasets, predictions and exports."""

import concurrent.futures
import dataclasses
import functools
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from keras_densenet.data.progress import watched
from keras_densenet.ops import Framing
from keras_densenet.types import Array, ImageShape, Path

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
IN_MEMORY = 2**30  # bytes of pixels that may stay in memory
ORIENTATION = 0x0112  # the EXIF tag


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
    """Opens an image lazily: a file's path, its bytes, or an array `(height, width, channels)` in 0..255.

    An image may be turned by its EXIF block only; what other places say of it is dropped.
    """
    PIL = pillow()
    if isinstance(record, np.ndarray):
        pixels = record.round().astype("uint8") if record.dtype != "uint8" else record
        return PIL.Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image = PIL.Image.open(io.BytesIO(record) if isinstance(record, bytes) else record, formats=formats())
    for other in ("XML:com.adobe.xmp", "xmp", "Raw profile type exif"):
        image.info.pop(other, None)
    return image


def faults(image):
    """What forbids to use an open image: some of `ANIMATED` (whose frame?) and `DEEP`."""
    is_animated = getattr(image, "is_animated", False) and image.format != "MPO"  # a photo and its preview
    return [fault for fault, found in ((ANIMATED, is_animated), (DEEP, image.mode in ("I", "F"))) if found]


def decode(record, framing, box=None):
    """Decodes one image as a `Framing` says.

    Args:
        record: as for `open_image`. CMYK becomes RGB, 16 bits become 8, transparency is dropped.
        framing: a `Framing`.
        box: a function from the upright image's `(height, width)` to a box `(top, left, height, width)` of your own.

    Returns:
        uint8 `(height, width, channels)`.

    Raises:
        ValueError: for an image with `faults`, or what Pillow cannot decode.
        OSError: the same.
    """
    PIL = pillow()
    with open_image(record) as image:
        if found := faults(image):
            raise ValueError(f"it is {found[0]}")
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
    if image.mode.startswith("I;16"):
        image = pillow().Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Encoded images that are decoded when asked for, by index like an array: `pictures[:10]`.

    Args:
        keys: an array with a key for each image.
        framing: a `Framing` with a size.
        read: a function from a key to what `open_image` takes; by default the keys are that themselves.

    Examples:
        >>> files = [path.read_bytes() for path in kd.data.files_of(["photos"])]
        >>> pictures = kd.data.Pictures(np.array(files, object), kd.data.Framing((16, 16), 3))
        >>> pictures.shape, pictures[:2].shape  # only two are decoded
        ((16, 16, 16, 3), (2, 16, 16, 3))
    """

    keys: Array
    framing: Framing
    read: Callable[[Any], Any] = lambda key: key
    dtype = np.dtype("uint8")

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
            return decode(self.read(keys), self.framing)
        jobs = zip(keys, boxes or [None] * len(keys), strict=True)
        with concurrent.futures.ThreadPoolExecutor() as pool:  # Pillow decodes without Python's lock
            found = pool.map(lambda job: decode(self.read(job[0]), self.framing, job[1]), jobs)
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


def as_pictures(images, framing=None):
    """`Pictures` of an array, by default as it is."""
    framing = framing or Framing(images.shape[1:3], images.shape[3])
    return Pictures(np.arange(len(images)), framing, images.__getitem__)


def read_images(files: Iterable[Path | bytes], framing: Framing | ImageShape) -> Array:
    """Decodes image files for a network, as training on a folder of images does.

    Args:
        files: paths, or contents, of files in any format that Pillow reads.
        framing: how a file becomes the network's input, such as its `framing`; or the `(height, width, channels)` that
            it expects, for a `Framing` of that size. Without a size, all images must be of one.

    Returns:
        float32 `(images, height, width, channels)` in 0..255.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a file that cannot be decoded, or another number of channels.

    Examples:
        >>> kd.data.read_images(kd.data.files_of(["photos"]), (16, 16, 3)).shape
        (16, 16, 16, 3)
    """
    if not isinstance(framing, Framing):
        *size, channels = framing
        framing = Framing(None if None in size else [side for side in size if side], channels)
    if framing.channels not in MODES:
        raise ValueError(f"Image files can be read for 1, 3 or 4 channels. Received: a network with {framing.channels}")
    PIL, found = pillow(), []
    for file in files:
        try:
            found.append(decode(file, framing))
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no image {str(file)!r}") from None
        except PIL.UnidentifiedImageError:
            raise ValueError(f"{_named(file)} cannot be decoded as an image: {NO_IMAGE}") from None
        except (PIL.Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError) as error:
            raise ValueError(f"{_named(file)} cannot be decoded as an image: {error}") from None
    if len({image.shape for image in found}) > 1:
        raise ValueError("The network takes any size, but all images of one call must be of the same")
    return np.stack(found).astype("float32")


def _named(file):
    return "The file" if isinstance(file, bytes) else repr(str(file))
