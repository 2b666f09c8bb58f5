"""Images of more than 8 bits a value or of any number of bands, volumes and signals: arrays, NIfTI, DICOM."""

import io
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from keras_densenet.data.headers import VALUES, Fault, kind_of, read_array

AXES = {1: "(length,)", 2: "(height, width)", 3: "(depth, height, width)"}
LAST = {1: "(length, channels)", 2: "(height, width, bands)", 3: "(depth, height, width, channels)"}
SHAPES = {dimensions: f"an array neither {AXES[dimensions]} nor {LAST[dimensions]}" for dimensions in AXES}
FIXED = {"dicom": 2, "nifti": 3}  # dimensions of what is no plain array
FRAMES = "of several frames"
PACKED = "DICOM of a compression for which pydicom needs another package, such as pylibjpeg"
WINDOW, OWN_RANGE = "DICOM, seen through its window", "DICOM without a window, in its own units"
ORIENTATION = 0x0112  # the EXIF tag


def contents(record, dimensions=2):
    """What a record holds: an array `(*sizes, channels)` for NumPy's files, NIfTI and DICOM, itself for all else.

    Args:
        record: a path, bytes or an array.
        dimensions: how many sizes there are: 1 of a signal, 2 of an image, 3 of a volume.

    Returns:
        The array or the record, and findings about it, a list.

    Raises:
        Fault: for an array that is none of so many dimensions.
        ValueError: for a file that is damaged.
    """
    kind = None if isinstance(record, np.ndarray) else kind_of(record)
    if kind is None:
        return record, []
    if FIXED.get(kind, dimensions) != dimensions:
        raise Fault(SHAPES[dimensions])
    array, findings = _read_dicom(record) if kind == "dicom" else (read_array(record, kind), [])
    if array.ndim == dimensions:
        array = array[..., None]
    if array.ndim != dimensions + 1 or not array.size:
        raise Fault(SHAPES[dimensions])
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


def _read_dicom(record):
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
            header = pydicom.dcmread(io.BytesIO(record) if isinstance(record, bytes) else record)
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
