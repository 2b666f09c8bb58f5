"""Images of more than 8 bits a value or of any number of bands: NumPy's files, DICOM, and Pillow's 16-bit images."""

import io
import pathlib
import threading
import warnings

import numpy as np
import tensorflow as tf

ENDINGS = {".npy", ".dcm", ".dicom"}
BYTES = {b"\x93NUMPY": 0, b"DICM": 128}  # what such files begin with, and where
FRAMES = "of several frames"
SHAPE = "an array neither (height, width) nor (height, width, bands)"
VALUES = "an array of what are no real numbers, or of NaN or infinity"
PACKED = "DICOM of a compression for which pydicom needs another package, such as pylibjpeg"
WINDOW, OWN_RANGE = "DICOM, seen through its window", "DICOM without a window, in its own units"
ORIENTATION = 0x0112  # the EXIF tag
_PARSER = threading.Lock()  # of headers: Python 3.11's fails now and then where two threads use it


class Fault(ValueError):
    """What forbids to use a file, a finding of `check`."""

    def __init__(self, finding):
        super().__init__(f"it is {finding}")
        self.finding = finding


def is_array_file(record):
    """Whether a file's path, or its bytes, begin as NumPy's files or DICOM do."""
    if isinstance(record, bytes):
        head = record[:132]
    else:
        with open(record, "rb") as file:
            head = file.read(132)
    return any(head[start:].startswith(known) for known, start in BYTES.items())


def contents(record):
    """What a record holds: an array `(height, width, bands)` for NumPy's files and DICOM, itself for everything else.

    Args:
        record: a path, bytes or an array.

    Returns:
        The array or the record, and findings about it, a list.

    Raises:
        Fault: for an array that is no image.
        ValueError: for a file that is damaged.
    """
    if isinstance(record, np.ndarray) or not is_array_file(record):
        return record, []
    file = io.BytesIO(record if isinstance(record, bytes) else pathlib.Path(record).read_bytes())
    array, findings = (_read_npy(file), []) if file.getvalue()[:1] == b"\x93" else _read_dicom(file)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        raise Fault(SHAPE)
    if array.dtype.kind not in "buif" or not np.isfinite(array).all():
        raise Fault(VALUES)
    return array, findings


def as_pixels(array):
    """float32 of any real numbers: 16 bits without a sign, and truth, become 0..255; others are left as they are."""
    pixels = array.astype("float32")
    if array.dtype.kind == "b":
        return pixels * 255
    return pixels / 257 if array.dtype.kind == "u" and array.dtype.itemsize == 2 else pixels


def with_channels(pixels, channels):
    """Pixels of another number of channels, as Pillow would: grey is repeated, RGB weighed, alpha opaque or dropped."""
    bands = pixels.shape[-1]
    if bands == channels:
        return pixels
    if not fits(bands, channels):
        raise ValueError(f"it has {bands} bands, not {channels}")
    colour = np.repeat(pixels, 3, -1) if bands == 1 else pixels[..., :3]
    if channels == 1:
        return (colour @ np.array([0.299, 0.587, 0.114], "float32"))[..., None]
    return colour if channels == 3 else np.concatenate([colour, np.full_like(pixels[..., :1], 255)], -1)


def fits(bands, channels):
    """Whether images of so many bands can become ones of so many channels: grey, RGB and RGBA can become each other."""
    return bands == channels or {bands, channels} <= {1, 3, 4}


def is_deep(image):
    """Whether an open Pillow image that has not been loaded keeps 16 bits a value, here or in `deep_pixels`."""
    return image.mode.startswith("I;16") or (image.format == "PNG" and has_16_bits(image))


def has_16_bits(image):
    """Whether a file has 16 bits a value, which Pillow keeps of grey images only."""
    return image.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in image.tile)


def deep_pixels(image, record):
    """The upright pixels of a deep image, float32 `(height, width, bands)` in 0..255 with fractions."""
    import PIL.Image
    import PIL.ImageOps

    if image.mode.startswith("I;16"):
        PIL.ImageOps.exif_transpose(image, in_place=True)
        return as_pixels(np.asarray(image).astype("uint16")[..., None])
    encoded = record if isinstance(record, bytes) else pathlib.Path(record).read_bytes()
    try:
        array = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(error.message) from None
    if array.shape[-1] == 2:  # grey with transparency
        array = array[..., :1]
    bands = [PIL.Image.fromarray(band) for band in np.moveaxis(as_pixels(array), -1, 0)]
    for band in bands:
        band.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
        PIL.ImageOps.exif_transpose(band, in_place=True)
    return np.stack([np.asarray(band) for band in bands], -1)


def _read_npy(file):
    try:
        with _PARSER:
            return np.load(file, allow_pickle=False)
    except MemoryError:
        raise ValueError("its header tells of more than memory has") from None


def _read_dicom(file):
    """The pixels of a DICOM file, and findings about it.

    Through its window, or its lookup table, grey pixels are 0..255; without either they are in its own units after the
    rescale slope, or, where that changes nothing, the stored bits' range becomes 0..255. MONOCHROME1 is inverted.
    """
    try:
        import pydicom
        import pydicom.pixels
    except ImportError:
        raise ImportError("DICOM files need pydicom: pip install 'keras-densenet[medical]'") from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of values that are spelled oddly
            header = pydicom.dcmread(file)
            if int(header.get("NumberOfFrames") or 1) > 1:
                raise Fault(FRAMES)
            stored = header.pixel_array
            if header.PhotometricInterpretation == "PALETTE COLOR":
                return pydicom.pixels.apply_color_lut(stored, header), []
            return (stored, []) if header.SamplesPerPixel > 1 else _grey(header, stored)
    except Fault:
        raise
    except Exception as error:  # pydicom raises what it meets
        if "missing dependencies" in str(error):
            raise Fault(PACKED) from None
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _grey(header, stored):
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    bits = header.BitsStored - header.PixelRepresentation
    ends = np.array([-(2**bits) * header.PixelRepresentation, 2**bits - 1])
    if header.get("ModalityLUTSequence"):
        ends = np.array([0, 2 ** header.ModalityLUTSequence[0].LUTDescriptor[2] - 1])
        values, findings = apply_modality_lut(stored, header), []
    else:
        values, ends = (apply_modality_lut(numbers, header) for numbers in (stored, ends))
        rescale = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
        findings = [OWN_RANGE] if rescale != (1, 0) else []
    low, high = sorted(ends.astype("float64"))
    if header.get("VOILUTSequence"):
        values, findings = apply_voi(np.round(values).astype("int64"), header), [WINDOW]
        low, high = 0, 2 ** header.VOILUTSequence[0].LUTDescriptor[2] - 1
    elif header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):
            low, high = apply_windowing(np.array([-1e12, 1e12]), header)  # which depends on the stored bits
            values, findings = apply_windowing(values, header), [WINDOW]
    values = values.astype("float64")
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = low + high - values
    return (values if findings == [OWN_RANGE] else (values - low) * 255 / (high - low)).astype("float32"), findings
