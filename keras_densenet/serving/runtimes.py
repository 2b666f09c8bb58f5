"""ONNX and OpenVINO: a file has one signature, made of TensorFlow's graph of it, and its runtime runs it."""

import collections
import contextlib
import json
import pathlib
import platform
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.serving.native import NativeModel, asked
from keras_densenet.types import Array, Path

RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
EXPORTERS = {"litert": "tensorflow", "onnx": "tf2onnx", "openvino": "openvino"}
FILES = {"litert": "model.tflite", "onnx": "model.onnx", "openvino": "model.xml"}
HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_OPSET = 18  # the newest that tf2onnx writes
_ABOUT = "keras_densenet"


def write_file(
    function: Any, path: pathlib.Path, format: str, signature: str, labels: list[str], precision: str
) -> None:
    """Writes one signature.

    Args:
        function: its `tf.function`, with an input signature.
        path: of the file.
        format: "onnx" or "openvino".
        signature: its name, which the file keeps, like the labels and the precision.
        labels: names of the classes.
        precision: what the runtime shall compute in; with 16 bits OpenVINO's file has its weights in float16.

    Raises:
        RuntimeError: if the converter fails.
    """
    about = {"signature": signature, "labels": json.dumps(labels), "precision": precision}
    with exporter(format):
        if format == "onnx":
            import onnx
            import tf2onnx

            model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
            onnx.helper.set_model_props(model, about)
            path.write_bytes(model.SerializeToString())
        else:
            import openvino

            with tempfile.TemporaryDirectory() as folder:  # `convert_model` would tell Intel that it was called
                tf.saved_model.save(tf.Module(), folder, signatures={"serving_default": function})
                model = openvino.Core().read_model(folder)
            for name, value in about.items():
                model.set_rt_info(value, [_ABOUT, name])
            openvino.save_model(model, path, compress_to_fp16=precision != "float32")


@contextlib.contextmanager
def exporter(format):
    """Tells whatever fails in the block as the exporter's failure, in one sentence."""
    try:
        yield
    except Exception as error:  # of any kind: it is another library's, on a Python or Keras that it may not know
        package = EXPORTERS[format]
        version = getattr(sys.modules.get(package), "__version__", "")
        versions = f"{package} {version}, Keras {keras.__version__}"
        raise RuntimeError(
            f"The exporter to {format} failed ({versions}, Python {platform.python_version()}): "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        ) from error


def loaded(folder: Path) -> "NativeModel | FileModel":
    """An export's version as what serves it loads it."""
    has_file = any(pathlib.Path(folder, FILES[format]).is_file() for format in RUNTIMES)
    return FileModel(folder) if has_file else NativeModel(folder)


class FileModel:
    """A loaded ONNX or OpenVINO file, with the interface of `NativeModel`.

    Args:
        folder: of the file.

    Raises:
        ValueError: if the runtime does not load it; says why.

    Examples:
        >>> kd.serving.export_file(model, "served", "openvino", "fast", preprocessing="unit")  # doctest: +SKIP
        >>> served = kd.serving.FileModel("served/fast/1")  # doctest: +SKIP
        >>> served.run("serving_default", {"image": images}, ["score"])["score"].shape  # doctest: +SKIP
        (4,)
    """

    def __init__(self, folder: Path) -> None:
        self.labels: list[str] = []
        self.operations: collections.Counter[str] = collections.Counter()
        folder, found = pathlib.Path(folder), tf.compat.v1.MetaGraphDef()
        format = next(format for format in RUNTIMES if (folder / FILES[format]).is_file())
        open_file = _open_onnx if format == "onnx" else _open_openvino
        with _told(f"{str(folder)!r} cannot be loaded"):
            about, inputs, outputs, self.operations, self._answer = open_file(folder / FILES[format])
        signature = found.signature_def[about["signature"]]
        for known, tensors in ((signature.inputs, inputs), (signature.outputs, outputs)):
            for name, (dtype, shape) in tensors.items():
                known[name].name, known[name].dtype = name, tf.as_dtype(dtype).as_datatype_enum
                known[name].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
        self.signatures, self.labels = dict(found.signature_def), json.loads(about["labels"])

    def run(self, signature: str, inputs: Mapping[str, Any], outputs: Iterable[str] | None = None) -> dict[str, Array]:
        """As `NativeModel.run` does."""
        _, names = asked(self.signatures, signature, inputs, outputs)
        with _told("The run failed"):
            return self._answer({name: np.asarray(value) for name, value in inputs.items()}, names)

    def close(self) -> None:
        """Frees what the model holds; it cannot be run any more."""
        del self._answer


@contextlib.contextmanager
def _told(what):
    try:
        yield
    except Exception as error:  # of the runtimes' own kinds
        raise ValueError(f"{what}: {' '.join(str(error).split())[:400]}") from error


def _open_onnx(path):
    import onnx
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def tensors(nodes):
        names = {"tensor(float)": "float32", "tensor(double)": "float64"}
        sides = [[side if isinstance(side, int) else None for side in node.shape] for node in nodes]
        types = [names.get(node.type, node.type.removeprefix("tensor(").removesuffix(")")) for node in nodes]
        return {node.name: (dtype, shape) for node, dtype, shape in zip(nodes, types, sides, strict=True)}

    def answer(inputs, names):
        return dict(zip(names, map(_in_bytes, session.run(names, inputs)), strict=True))

    counted = collections.Counter(node.op_type for node in onnx.load(path, load_external_data=False).graph.node)
    about = session.get_modelmeta().custom_metadata_map
    return about, tensors(session.get_inputs()), tensors(session.get_outputs()), counted, answer


def _in_bytes(values):
    """Strings as TensorFlow has them; anything else as it is."""
    if values.dtype != object:
        return values
    return np.array([value.encode() for value in values.flat], object).reshape(values.shape)


def _open_openvino(path):
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    about = {name: model.get_rt_info([_ABOUT, name]).astype(str) for name in ("signature", "labels", "precision")}
    options = {"INFERENCE_PRECISION_HINT": HINTS[about["precision"]], "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", options)

    def tensors(ports):
        shapes = [[None if side.is_dynamic else side.get_length() for side in port.partial_shape] for port in ports]
        types = [port.get_element_type().to_dtype().name for port in ports]
        return {port.get_any_name(): (t, shape) for port, t, shape in zip(ports, types, shapes, strict=True)}

    def answer(inputs, names):
        found = compiled.create_infer_request().infer(inputs)  # each call has its own: a model is run from many threads
        return {name: np.array(found[name]) for name in names}

    counted = collections.Counter(operation.get_type_name() for operation in model.get_ops())
    return about, tensors(compiled.inputs), tensors(compiled.outputs), counted, answer
