"""File formats that hold tensors by name. Nothing in a file is ever run."""

import contextlib
import importlib.util
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import h5py
import numpy as np

from keras_densenet.files import written_beside
from keras_densenet.weights import hdf5


@contextlib.contextmanager
def opened(path):
    """Opens a file of weights, or a folder with some.

    Args:
        path: a `.h5`, `.weights.h5`, `.keras`, `.safetensors` or `.pth` file, or the folder of a run or of a preset.

    Yields:
        `{name: tensor}`, where a tensor has a `shape` and a `dtype`, and `tensor[()]` reads it.

    Raises:
        FileNotFoundError: if it is not there.
        ImportError: if a library that reads it is missing; says which.
        ValueError: if it is of another format, truncated, or holds more than tensors.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no weights file {str(path)!r}: give a path, or a name of list_weights() (keras-densenet weights)"
        )
    with contextlib.ExitStack() as stack:
        try:
            found = [_READERS[file.suffix](file, stack) for file in _files(path)]
            if twice := [name for name in found[0] if any(name in other for other in found[1:])]:
                raise OSError(f"more than one of its files holds {twice[0]}")
            yield {name: tensor for tensors in found for name, tensor in tensors.items()}
        except (OSError, RuntimeError, KeyError, zipfile.BadZipFile) as error:
            reason = str(error).split("\n")[0]
            raise ValueError(
                f"{str(path)!r} is not a complete file of weights (truncated or of another format?): {reason}"
            ) from None


def write(path, tensors):
    """Writes `{name: array}` in the format that the path's ending names; a file is whole or not there at all.

    Args:
        path: ends in `.safetensors`, `.pth`, `.weights.h5` (Keras 3) or `.h5` (the legacy format).
        tensors: in the order of the network.

    Raises:
        ImportError: if a library that writes it is missing; says which.
    """
    with written_beside(path) as beside:
        ending = ".weights.h5" if beside.name.endswith(".weights.h5") else beside.suffix
        _WRITERS[ending](beside, tensors)


def _files(path):
    if not path.is_dir():
        files = [path] if path.suffix in _READERS else []
    else:
        files = [path / name for name in _IN_FOLDERS if (path / name).is_file()]
    if not files:
        raise ValueError(
            f"weights must be a file that ends in {', '.join(_READERS)}, or the folder of a run or of a keras-hub "
            f"preset. Received: {str(path)!r}"
        )
    return files


def _read_hdf5(path, stack):
    return hdf5.read_tensors(stack.enter_context(h5py.File(path)))


def _read_keras(path, stack):
    with zipfile.ZipFile(path) as archive:
        return _read_hdf5(io.BytesIO(archive.read("model.weights.h5")), stack)


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


def _read_pth(path, stack):
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "tensors.npz")
        _run_torch("read", path, target)
        with np.load(target) as tensors:
            return dict(tensors)


def _write_pth(path, tensors):
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "tensors.npz")
        np.savez(source, **tensors)
        _run_torch("write", source, path)


def _run_torch(*arguments):
    """Runs `torch_files.py` in a process of its own: torch and TensorFlow do not always live in one."""
    python = os.environ.get("KERAS_DENSENET_TORCH_PYTHON")
    if not python and not importlib.util.find_spec("torch"):
        raise ImportError(
            "`.pth` files need torch: pip install 'keras-densenet[torch]', or set KERAS_DENSENET_TORCH_PYTHON to a "
            "Python interpreter that has it"
        )
    script = pathlib.Path(__file__).with_name("torch_files.py")
    command = [python or sys.executable, "-I", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise OSError((done.stderr.strip() or "torch failed").splitlines()[-1])


_IN_FOLDERS = ("model.keras", "model.weights.h5", "task.weights.h5")  # of a run, of a preset of keras-hub
_READERS = {".h5": _read_hdf5, ".keras": _read_keras, ".safetensors": _read_safetensors, ".pth": _read_pth}
_WRITERS = {
    ".h5": hdf5.write_legacy,
    ".weights.h5": hdf5.write_keras3,
    ".safetensors": _write_safetensors,
    ".pth": _write_pth,
}
