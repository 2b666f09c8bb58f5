"""PyTorch's files (`.pth`, `.pt`, ...), read and written without PyTorch.

The format's source is PyTorch itself: `_load` (zip files, since 1.6) and `_legacy_load` (before) in
torch/serialization.py, what rebuilds tensors in torch/_utils.py, and https://docs.pytorch.org/docs/stable/notes/serialization.html.
"""

import functools
import io
import math
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

from keras_densenet.weights import pickled
from keras_densenet.weights.pickled import Kinds, Refused, opcodes, unpickle

_HEADER = [0x1950A86A20F9469CFC6C, 1001]
_KINDS = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Bool": "bool"}
_KINDS |= {"Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8"}
_KINDS |= {"ComplexFloat": "complex64", "ComplexDouble": "complex128"}
_OTHERS = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
_DTYPES = Kinds({f"torch.{name}": np.dtype(getattr(ml_dtypes, name, name)) for name in [*_KINDS.values(), *_OTHERS]})
_STORAGES = Kinds.fromkeys(["torch.UntypedStorage", "torch.storage.UntypedStorage"], np.dtype("uint8"))
_STORAGES |= {f"torch.{kind}Storage": _DTYPES[f"torch.{name}"] for kind, name in _KINDS.items()}


class _Storage(NamedTuple):
    read: Callable[[], bytes]
    dtype: np.dtype
    numel: int
    start: int = 0  # in bytes


class Tensor:
    """A tensor in a file: `shape`, `dtype`, and `tensor[()]`, which reads it."""

    def __init__(self, storage, offset, shape, strides, *others):
        numbers = (storage.numel, storage.start, offset, *shape[:32], *strides[:32])
        if len(shape) != len(strides) or len(shape) > 32 or not all(type(n) is int and 0 <= n < 2**50 for n in numbers):
            raise ValueError("the sizes of a tensor are wrong")
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if 0 not in shape and last >= storage.numel:
            raise ValueError(f"a tensor reaches beyond its storage of {storage.numel} numbers")
        self.dtype, self.shape = storage.dtype, tuple(shape)
        self.nbytes = math.prod(n or 1 for n in shape) * self.dtype.itemsize
        self._storage, self._offset, self._strides = storage, offset, strides

    def __getitem__(self, key):
        data, (_, dtype, numel, start) = self._storage.read(), self._storage
        flat = np.frombuffer(data, dtype, numel, start)[self._offset :]
        return np.lib.stride_tricks.as_strided(flat, self.shape, [s * dtype.itemsize for s in self._strides])[key]


def _tensor_v3(storage, offset, shape, strides, grad, hooks, name, *others):
    dtype = _DTYPES[name]
    numel = storage.numel * storage.dtype.itemsize // dtype.itemsize
    return Tensor(storage._replace(dtype=dtype, numel=numel), offset, shape, strides)


_CALLS: dict[str, Callable | None] = {
    **pickled.HARMLESS,
    "torch._utils._rebuild_tensor": Tensor,
    "torch._utils._rebuild_tensor_v2": Tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": lambda tensor, *others: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *others: tensor,
    "torch._tensor._rebuild_from_type_v2": lambda function, kind, args, state: pickled.call(function, args, _CALLS),
}


def read_zip(archive, size):
    """Lists the tensors of a zip file, as PyTorch writes them since 1.6.

    Args:
        archive: a `zipfile.ZipFile` that stays open.
        size: of the file in bytes.

    Returns:
        `{name: Tensor}`: the names of `state_dict()`, behind those of what it is in.

    Raises:
        OSError: if it is damaged.
        Refused: if it is of another kind, or would call something.
    """
    root = archive.namelist()[0].partition("/")[0]
    files = {name.removeprefix(f"{root}/"): info for name, info in archive.NameToInfo.items()}
    if "constants.pkl" in files:
        raise Refused("is a TorchScript program, which is not run here: save its state_dict() with torch.save")

    @functools.lru_cache(maxsize=1)
    def read(info):
        with pickled.damage_told(), archive.open(info) as file:
            data = file.read(info.file_size)  # all that is there may be more than the archive says
        if len(data) < info.file_size:
            raise EOFError("a part of it is cut short")
        return data

    def persistent(kind, storage, key, location, numel):
        dtype, info = _STORAGES[storage], files["data/" + key]
        if kind != "storage" or info.file_size != numel * dtype.itemsize:
            raise ValueError("a storage has another size than it says")
        return _Storage(functools.partial(read, info), dtype, numel)

    with pickled.damage_told():
        if "byteorder" in files and read(files["byteorder"]) != b"little":
            raise Refused("was written by a big-endian machine, whose files are not read here")
        if files["data.pkl"].file_size > pickled.longest(size):
            raise Refused(f"pickles more than a file of weights has: {pickled.ADVICE}")
        return _tensors(unpickle(io.BytesIO(read(files["data.pkl"])), _CALLS, persistent, size), size)


def read_legacy(file, size):
    """Lists the tensors of a file from before PyTorch 1.6, as `read_zip` does; `file` stays open."""
    stored, places = {}, {}

    @functools.lru_cache(maxsize=1)
    def read(key):
        file.seek(places[key])
        return file.read(stored[key].numel * stored[key].dtype.itemsize)

    def persistent(kind, storage, *others):
        if kind == "module":  # a class, with its source
            return storage
        key, _, numel, view = others
        root = stored.setdefault(key, _Storage(functools.partial(read, key), _STORAGES[storage], numel))
        _, start, numel = view or (key, 0, root.numel)
        if not 0 <= start <= start + numel <= root.numel:
            raise ValueError(f"a view reaches beyond its storage of {root.numel} numbers")
        return root._replace(start=start * root.dtype.itemsize, numel=numel)

    with pickled.damage_told():
        stream = io.BytesIO(file.read(pickled.longest(size)))
        if any(unpickle(stream, _CALLS, persistent, size) != number for number in _HEADER):
            raise Refused(f"is a pickle that torch.save did not write: {pickled.ADVICE}")
        _, root, keys = (unpickle(stream, _CALLS, persistent, size) for _ in range(3))
        place = stream.tell()
        for key in keys:
            file.seek(place)
            if int.from_bytes(file.read(8), "little") != stored[key].numel:
                raise ValueError("a storage has another size than it says")
            places[key] = place + 8
            place += 8 + stored[key].numel * stored[key].dtype.itemsize
        if place > size or places.keys() != stored.keys():
            raise EOFError("it is cut short")
        return _tensors(root, size)


def _tensors(root, size):
    """Names the tensors in nested containers and records; what is in itself, again and again, ends with the budget."""
    found, left, budget = {}, [("", root)], 2**20 + size
    while left:
        name, value = left.pop()
        if isinstance(value, Tensor):
            if name in found or not name.isprintable() or value.nbytes > size:
                raise ValueError(f"the tensor {name[:100]!r} is there twice, or larger than the file")
            found[name] = value
            continue
        for key, item in reversed(_items(value)):
            if isinstance(item, (Tensor, dict, list, tuple)):
                left.append((f"{name}.{key}" if name else str(key), item))
                budget -= 64 + len(left[-1][0])
            budget -= 1
            if budget < 0:
                raise Refused(f"nests more than a file of weights does: {pickled.ADVICE}")
    return found


def _items(value):
    """The parts of a container with their names; of a module those that are in its state_dict()."""
    if isinstance(value, (list, tuple)):
        return [*enumerate(value)]
    state = getattr(value, "state", {})
    if not isinstance(state, dict) or "_modules" not in state:
        return [*value.items(), *(state.items() if isinstance(state, dict) else enumerate(state or ()))]
    hidden = state.get("_non_persistent_buffers_set", ())
    buffers = {name: tensor for name, tensor in state["_buffers"].items() if name not in hidden}
    return [*state["_parameters"].items(), *buffers.items(), *state["_modules"].items()]


def write(path, tensors):
    """Writes `{name: array}` as `torch.save` writes a state_dict; `torch.load` takes it with `weights_only=True`."""
    names = {dtype: name.encode() for name, dtype in _STORAGES.items()}
    written = [b"\x80\x02ccollections\nOrderedDict\n)R("]
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, array) in enumerate(tensors.items()):
            array = np.asarray(array, order="C")
            strides = tuple(step // array.itemsize for step in array.strides)
            written += [opcodes(name), b"ctorch._utils\n_rebuild_tensor_v2\n((", opcodes("storage")]
            written += [b"c", names[array.dtype].replace(b".", b"\n"), b"\n", opcodes(str(number)), opcodes("cpu")]
            written += [opcodes(array.size), b"tQK\0", opcodes(array.shape), opcodes(strides), b"\x89"]
            written += [b"ccollections\nOrderedDict\n)RtR"]
            archive.writestr(f"archive/data/{number}", array.tobytes())
        parts = {"data.pkl": b"".join([*written, b"u."]), "byteorder": b"little", "version": b"3\n"}
        for name, content in parts.items():
            archive.writestr(f"archive/{name}", content)
