"""A SavedModel through TensorFlow's C loader, the C++ code that TensorFlow Serving runs: no Keras, no tracing."""

import collections
import contextlib
import ctypes
import functools
import math
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_densenet.compat.tensorflow import c_library
from keras_densenet.types import Array, Path


class NativeModel:
    """A loaded SavedModel: its `signatures`, `SignatureDef`s by name, and `graph`; `operations` are counted by kind.

    Args:
        folder: of the SavedModel.

    Raises:
        ValueError: if TensorFlow does not load it; says why.

    Examples:
        >>> served = kd.serving.NativeModel("served/digits/1")
        >>> served.run("serving_default", {"image": images}, ["score"])["score"].shape
        (4,)
    """

    def __init__(self, folder: Path) -> None:
        c = self._c = _library()
        self._graph, options, buffer = c.TF_NewGraph(), c.TF_NewSessionOptions(), c.TF_NewBuffer()
        tags = (ctypes.c_char_p * 1)(b"serve")
        try:
            with self._status(f"{str(folder)!r} cannot be loaded") as status:
                load = c.TF_LoadSessionFromSavedModel
                self._session = load(options, None, str(folder).encode(), tags, 1, self._graph, buffer, status)
            found = _Buffer.from_address(buffer)
            meta_graph = tf.compat.v1.MetaGraphDef.FromString(ctypes.string_at(found.data, found.length))
        except BaseException:
            c.TF_DeleteGraph(self._graph)
            raise
        finally:
            c.TF_DeleteBuffer(buffer)
            c.TF_DeleteSessionOptions(options)
        self.graph = graph = meta_graph.graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        self.operations = collections.Counter(node.op for node in nodes)
        self.signatures = {
            name: signature for name, signature in meta_graph.signature_def.items() if not name.startswith("__")
        }

    def run(self, signature: str, inputs: Mapping[str, Any], outputs: Iterable[str] | None = None) -> dict[str, Array]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: a dict of arrays, which must have the signature's types; bytes are object arrays.
            outputs: names of the outputs. Default: all.

        Returns:
            A dict of arrays by output name.

        Raises:
            ValueError: for another signature, name or type, and with TensorFlow's words if the run fails.
        """
        known, names = asked(self.signatures, signature, inputs, outputs)
        values = self._run(
            [known.inputs[name].name for name in inputs],
            [np.asarray(value) for value in inputs.values()],
            [known.outputs[name].name for name in names],
        )
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Frees what the model holds; it cannot be run any more."""
        try:
            with self._status("The model cannot be closed") as status:
                self._c.TF_DeleteSession(self._session, status)
        finally:
            self._c.TF_DeleteGraph(self._graph)

    def _run(self, feeds, arrays, fetches):
        c = self._c
        given = [_tensor(c, array) for array in arrays]
        found = (ctypes.c_void_p * len(fetches))()
        try:
            with self._status("The run failed") as status:
                c.TF_SessionRun(
                    *(self._session, None),
                    *(self._outputs(feeds), (ctypes.c_void_p * len(given))(*given), len(given)),
                    *(self._outputs(fetches), found, len(fetches)),
                    *(None, 0, None, status),
                )
            return [_array(c, tensor) for tensor in found]
        finally:
            for tensor in filter(None, [*given, *found]):
                c.TF_DeleteTensor(tensor)

    def _outputs(self, names):
        parts = (name.partition(":") for name in names)
        found = [
            _Output(self._c.TF_GraphOperationByName(self._graph, op.encode()), int(index)) for op, _, index in parts
        ]
        return (_Output * len(found))(*found)

    @contextlib.contextmanager
    def _status(self, what):
        status = self._c.TF_NewStatus()  # each call has its own: a model is run from many threads
        try:
            yield status
            if self._c.TF_GetCode(status):
                raise ValueError(f"{what}: {self._c.TF_Message(status).decode(errors='replace')}")
        finally:
            self._c.TF_DeleteStatus(status)


def asked(
    signatures: Mapping[str, Any], signature: str, inputs: Mapping[str, Any], outputs: Iterable[str] | None
) -> tuple[Any, list[str]]:
    """The `SignatureDef` that is asked for, and the names of the outputs; ValueError where the inputs do not fit it."""
    if signature not in signatures:
        raise ValueError(f"signature must be one of {', '.join(signatures)}. Received: {signature!r}")
    known = signatures[signature]
    if inputs.keys() != known.inputs.keys():
        raise ValueError(f"{signature} takes {', '.join(known.inputs)}. Received: {', '.join(inputs)}")
    for name, value in inputs.items():
        if (expected := known.inputs[name].dtype) != tf.as_dtype(np.asarray(value).dtype).as_datatype_enum:
            expected = tf.as_dtype(expected).name
            raise ValueError(f"{name} must be {expected}. Received: {np.asarray(value).dtype}")
    names = list(known.outputs) if outputs is None else list(outputs)
    if unknown := [name for name in names if name not in known.outputs]:
        raise ValueError(f"{signature} gives {', '.join(known.outputs)}. Received: {', '.join(unknown)}")
    return known, names


class _Output(ctypes.Structure):
    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t))


# Result and arguments of TensorFlow's C functions: p a pointer, s a string, i an int, n a size.
_FUNCTIONS = {
    "AllocateTensor": "p ipin",
    "DeleteBuffer": "i p",
    "DeleteGraph": "i p",
    "DeleteSession": "i pp",
    "DeleteSessionOptions": "i p",
    "DeleteStatus": "i p",
    "DeleteTensor": "i p",
    "Dim": "n pi",
    "GetCode": "i p",
    "GraphOperationByName": "p ps",
    "LoadSessionFromSavedModel": "p ppspippp",
    "Message": "s p",
    "NewBuffer": "p ",
    "NewGraph": "p ",
    "NewSessionOptions": "p ",
    "NewStatus": "p ",
    "NumDims": "i p",
    "SessionRun": "i ppppippipipp",
    "TensorByteSize": "n p",
    "TensorData": "p p",
    "TensorType": "i p",
}


@functools.cache
def _library():
    file = c_library()
    if file is None:
        folder = str(pathlib.Path(tf.__file__).parent)
        raise ImportError(f"TensorFlow's C library is not in {folder!r}: it comes with the wheel for Linux or macOS")
    library = ctypes.CDLL(str(file))
    types = {"p": ctypes.c_void_p, "s": ctypes.c_char_p, "i": ctypes.c_int, "n": ctypes.c_size_t}
    for name, (result, _, *arguments) in _FUNCTIONS.items():
        function = getattr(library, f"TF_{name}")
        function.restype, function.argtypes = types[result], [types[kind] for kind in arguments]
    return library


def _tensor(c, array):
    """A tensor with a copy of the array; strings are TensorFlow's views of the array's bytes, which must stay alive."""
    code = tf.as_dtype(array.dtype).as_datatype_enum
    if array.dtype == object:
        views = np.zeros((array.size, 3), "uint64")  # length with the tag of a view, address, nothing
        for view, value in zip(views, array.flat, strict=True):
            view[:2] = len(value) << 2 | 3, ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p).value or 0
        data = views
    else:
        data = np.ascontiguousarray(array)
    tensor = c.TF_AllocateTensor(code, (ctypes.c_int64 * array.ndim)(*array.shape), array.ndim, data.nbytes)
    ctypes.memmove(c.TF_TensorData(tensor), data.ctypes.data, data.nbytes)
    return tensor


def _array(c, tensor):
    shape = [c.TF_Dim(tensor, axis) for axis in range(c.TF_NumDims(tensor))]
    dtype = tf.as_dtype(c.TF_TensorType(tensor))
    if dtype == tf.string:
        address = c.TF_TensorData(tensor)
        values = np.array([_string(address + 24 * index) for index in range(math.prod(shape))], object)
    else:
        data = ctypes.string_at(c.TF_TensorData(tensor), c.TF_TensorByteSize(tensor))
        values = np.frombuffer(data, dtype.as_numpy_dtype)
    return values.reshape(shape)


def _string(address):
    """The bytes of a `TF_TString` of 24 bytes, which holds a short string itself and has the address of a long one."""
    head = int.from_bytes(ctypes.string_at(address, 8), "little")
    kind = head & 3
    if kind == 0:
        return ctypes.string_at(address + 1, (head & 0xFF) >> 2)
    if kind == 2:  # an offset from here
        return ctypes.string_at(address + (head >> 32), (head & 0xFFFFFFFF) >> 2)
    pointer = int.from_bytes(ctypes.string_at(address + (16 if kind == 1 else 8), 8), "little")
    return ctypes.string_at(pointer, head >> 2)
