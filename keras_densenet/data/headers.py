"""What a file of numbers holds, by its first bytes and its header: NumPy's `.npy` and `.npz`, NIfTI, DICOM."""

import contextlib
import gzip
import io
import struct
import threading
import zipfile
import zlib
from typing import NamedTuple

import numpy as np

NO_PICTURES = (".npz", ".nii", ".nii.gz")  # whatever is in a file of such a name
ENDINGS = (".npy", ".dcm", ".dicom", *NO_PICTURES)
UNKNOWN = "nothing that begins as .npy, .npz or NIfTI"
SEVERAL = ".npz of several arrays, or of none"
VALUES = "an array of what are no real numbers, or of NaN or infinity"
NIFTI_HEAD, BLOCK = 348, 2**22  # bytes; a block has whole values of every dtype
_PARSER = threading.Lock()  # of headers: Python 3.11's fails now and then where two threads use it


class Fault(ValueError):
    """What forbids to use a file, a finding of `check`."""

    def __init__(self, finding):
        super().__init__(f"it is {finding}")
        self.finding = finding


class Header(NamedTuple):
    """The shape of an array as it is read, its dtype in the file, and the stream that stands at its first value."""

    shape: tuple
    dtype: np.dtype
    stream: io.BufferedIOBase


def kind_of(record):
    """What a path, or bytes, begins as: "npy", "npz", "nifti", "dicom", or None for all that is no array."""
    with _opened(record) as file:
        head = file.read(4 * NIFTI_HEAD)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[128:132] == b"DICM":
        return "dicom"
    if head.startswith(b"PK\3\4") and b".npy" in head[30 : 30 + int.from_bytes(head[26:28], "little")]:
        return "npz"
    if head.startswith(b"\x1f\x8b"):
        with contextlib.suppress(zlib.error):
            head = zlib.decompressobj(31).decompress(head, NIFTI_HEAD)
    return "nifti" if head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0" else None


def is_called_array(path):
    """Whether a file's name ends as those of arrays do."""
    return str(path).lower().endswith(ENDINGS)


@contextlib.contextmanager
def header_of(record, kind):
    """Opens the array of a path or bytes, "npy", "npz" or "nifti", without reading its values.

    Yields:
        A `Header`.

    Raises:
        Fault: for what has no array of real numbers.
        ValueError: for a file that is damaged.
    """
    with _damage_told(), contextlib.ExitStack() as stack:
        file = stack.enter_context(_opened(record))
        if kind == "nifti":
            image, stream = open_nifti(file)
            shape, dtype = canonical_shape(image), image.get_data_dtype()
            stream.seek(image.dataobj.offset)
        else:
            stream = stack.enter_context(_member(file)) if kind == "npz" else file
            shape, dtype = _npy_header(stream)
        if dtype.kind not in "buif":
            raise Fault(VALUES)
        yield Header(shape, dtype, stream)


def read_array(record, kind):
    """The array of a path or bytes of NumPy's formats or NIfTI; of the latter float32 in its own units, upright."""
    with _damage_told(), contextlib.ExitStack() as stack:
        file = stack.enter_context(_opened(record))
        if kind == "nifti":
            image, stream = open_nifti(file)
            array = _canonical(image)
            stream.read(1)  # a compressed file is compared with its check sum where it ends
            return array
        stream = stack.enter_context(_member(file)) if kind == "npz" else file
        try:
            with _PARSER:
                return np.lib.format.read_array(stream, allow_pickle=False)
        except MemoryError:
            raise ValueError("its header tells of more than memory has") from None


def look_through(header):
    """Reads all values of a `Header`, a block at a time; raises Fault or ValueError where they are not what it says."""
    left = int(np.prod(header.shape, dtype=object)) * header.dtype.itemsize
    with _damage_told():
        while left > 0:
            block = header.stream.read(min(left, BLOCK))
            if len(block) < min(left, BLOCK):
                raise ValueError("it ends too early")
            if header.dtype.kind == "f" and not np.isfinite(np.frombuffer(block, header.dtype)).all():
                raise Fault(VALUES)
            left -= len(block)
        header.stream.read(1)  # as above


def open_nifti(file):
    """A NIfTI image that is not read yet, and the stream that it will be read from."""
    nibabel, head = _nibabel(), file.read(2)
    file.seek(0)
    stream = gzip.GzipFile(fileobj=file) if head == b"\x1f\x8b" else file
    start = stream.read(8)
    stream.seek(0)
    kind = nibabel.Nifti2Image if start[4:7] == b"n+2" else nibabel.Nifti1Image
    return kind.from_stream(stream), stream


def canonical_shape(image):
    """The shape that a NIfTI image has once its axes run to the right, to the front and up."""
    shape = _spatial(image.shape)
    order = _nibabel().io_orientation(image.affine)[:, 0]
    return (*(shape[axis] for axis in np.argsort(order)), *shape[3:])


def _canonical(image):
    nibabel, values = _nibabel(), np.asarray(image.dataobj, "float32")
    values = values.reshape(_spatial(image.shape))
    return np.ascontiguousarray(nibabel.apply_orientation(values, nibabel.io_orientation(image.affine)))


def _spatial(shape):
    """`(x, y, z)` or `(x, y, z, channels)`, where NIfTI keeps channels behind a time of one moment."""
    shape = (*shape, 1, 1)[: max(3, len(shape))]
    return (*shape[:3], *shape[4:]) if shape[3:4] == (1,) else shape


def _npy_header(stream):
    with _PARSER:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds objects of Python")
    return shape, dtype


def _member(file):
    """The stream of the one array in an `.npz` file."""
    archive = zipfile.ZipFile(file)
    if len(archive.infolist()) != 1:
        raise Fault(SEVERAL)
    return archive.open(archive.infolist()[0])


def _opened(record):
    return io.BytesIO(record) if isinstance(record, bytes) else open(record, "rb")


def _nibabel():
    try:
        import nibabel
    except ImportError:
        raise ImportError("NIfTI files need nibabel: pip install 'keras-densenet[medical]'") from None
    return nibabel


@contextlib.contextmanager
def _damage_told():
    """Raises ValueError for what libraries raise of damaged files; errors of the system and faults pass."""
    try:
        yield
    except (Fault, FileNotFoundError, PermissionError, ImportError, MemoryError):
        raise
    except (zlib.error, zipfile.BadZipFile, struct.error, EOFError, OSError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # nibabel raises what it meets
        if type(error).__module__.startswith("nibabel") or isinstance(error, (ValueError, TypeError)):
            raise ValueError(str(error)) from None
        raise
