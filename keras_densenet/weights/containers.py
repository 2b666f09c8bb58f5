"""File formats that hold tensors by name. Nothing in a file is ever run."""

import contextlib
import io
import pathlib
import re
import zipfile
import zlib

import h5py

from keras_densenet.files import written_beside
from keras_densenet.weights import hdf5, pickled, pytorch


@contextlib.contextmanager
def opened(path):
    """Opens a file of weights, or a folder with some.

    Args:
        path: a file of Keras (`.h5`, `.weights.h5`, `.keras`), safetensors or PyTorch (`.pth`, `.pt`, ...) with any
            ending, or the folder of a run or of a preset of keras-hub.

    Yields:
        `{name: tensor}`, where a tensor has a `shape` and a `dtype`, and `tensor[()]` reads it.

    Raises:
        FileNotFoundError: if it is not there.
        ImportError: if a library that reads it is missing; says which.
        ValueError: if it is of another format, truncated, or would run something.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}: give a path, or a name of list_weights() (keras-densenet weights)"
        )
    with contextlib.ExitStack() as stack:
        try:
            found = [_reader(file)(file, stack) for file in _files(path)]
            if twice := [name for name in found[0] if any(name in other for other in found[1:])]:
                raise OSError(f"more than one of its files holds {twice[0]}")
            yield {name: tensor for tensors in found for name, tensor in tensors.items()}
        except pickled.Refused as error:
            raise ValueError(f"{str(path)!r} {error}") from None
        except (OSError, EOFError, RuntimeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"{str(path)!r} is not a complete file of weights (truncated or of another format?): {reason}"
            ) from None


def write(path, tensors):
    """Writes `{name: array}` in the format that the path's ending names; a file is whole or not there at all.

    Args:
        path: ends in `.safetensors`, `.pth`, `.pt`, `.weights.h5` (Keras 3) or `.h5` (the legacy format).
        tensors: in the order of the network.

    Raises:
        ImportError: if a library that writes it is missing; says which.
    """
    with written_beside(path) as beside:
        ending = ".weights.h5" if beside.name.endswith(".weights.h5") else beside.suffix
        _WRITERS[ending](beside, tensors)


def _files(path):
    if not path.is_dir():
        return [path]
    files = [path / name for name in _IN_FOLDERS if (path / name).is_file()]
    if not files:
        raise ValueError(
            f"weights must be a file, or the folder of a run or of a keras-hub preset. Received: {str(path)!r}"
        )
    return files


def _reader(path):
    """Chooses by what a file begins with: endings are what people make of them."""
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise pickled.Refused("is a Git LFS pointer, not the file that it stands for: fetch that with `git lfs pull`")
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|html|head|\?xml)", head, re.IGNORECASE):
        raise pickled.Refused("is a web page, not a file of weights: download the file itself")
    if head[4:9] == b"\0\0\0\0{":
        return _read_safetensors
    for start, reader in _READERS.items():
        if head.startswith(start):
            return reader
    raise OSError("it begins like none of HDF5, zip, safetensors and torch.save")


def _read_hdf5(path, stack):
    return hdf5.read_tensors(stack.enter_context(h5py.File(path)))


def _read_zip(path, stack):
    with pickled.damage_told():
        archive, size = stack.enter_context(zipfile.ZipFile(path)), path.stat().st_size
    unpacked = sum(info.file_size for info in archive.filelist)
    if unpacked > 2 * size + 2**20:
        raise pickled.Refused(f"is a zip bomb: its {size:,} bytes would become {unpacked:,}")
    if len(archive.filelist) > len(archive.NameToInfo) or not archive.filelist:
        raise OSError("its zip archive is empty, or has two files of one name")
    if "model.weights.h5" in archive.NameToInfo:
        return _read_hdf5(io.BytesIO(archive.read("model.weights.h5")), stack)
    return pytorch.read_zip(archive, size)


def _read_pickle(path, stack):
    return pytorch.read_legacy(stack.enter_context(open(path, "rb")), path.stat().st_size)


def _read_safetensors(path, stack):
    library = _safetensors()
    try:
        return library.numpy.load_file(path)
    except library.SafetensorError as error:
        raise OSError(error) from None


def _write_safetensors(path, tensors):
    _safetensors().numpy.save_file(tensors, path, metadata={"format": "pt"})


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("`.safetensors` files need safetensors: pip install 'keras-densenet[weights]'") from None
    return safetensors


_IN_FOLDERS = ("model.keras", "model.weights.h5", "task.weights.h5")  # of a run, of a preset of keras-hub
_READERS = {b"\x89HDF": _read_hdf5, b"PK": _read_zip, b"\x80": _read_pickle}
_WRITERS = {
    ".h5": hdf5.write_legacy,
    ".weights.h5": hdf5.write_keras3,
    ".safetensors": _write_safetensors,
    ".pth": pytorch.write,
    ".pt": pytorch.write,
}
