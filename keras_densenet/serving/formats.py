"""Exports for other runtimes than TensorFlow Serving, through Keras' own exporters."""

import contextlib
import importlib.util
import pathlib
import platform
import sys
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.models.flat import with_temperature
from keras_densenet.serving.export import check_version, new_version
from keras_densenet.serving.graph import activated, inference_form, prepared
from keras_densenet.types import Array, Mode, Path

FILES = {"litert": "model.tflite", "onnx": "model.onnx", "openvino": "model.xml"}
TOLERANCE = 1e-4
_EXPORTERS = {"litert": "tensorflow", "onnx": "tf2onnx", "openvino": "openvino"}
_RUNTIMES = {"litert": "tensorflow", "onnx": "onnxruntime", "openvino": "openvino"}


def export_file(
    model: keras.Model,
    base_path: Path,
    format: str,
    name: str | None = None,
    version: int | None = None,
    preprocessing: Mode | keras.Layer | None = None,
    *,
    folded: bool = True,
    activation: str | None = None,
    representative: Array | None = None,
) -> tuple[pathlib.Path, float | None]:
    """Writes `<base_path>/<name>/<version>/` with a LiteRT, ONNX or OpenVINO file, and compares it with Keras.

    The file takes raw pixels as `export_saved_model`'s does, and gives the model's output.

    Args:
        model: a functional, or sequential and built Keras model with one input and one output.
        base_path, name, version, preprocessing, folded: as in `export_saved_model`.
        activation: "softmax" or "sigmoid", to put behind a model that ends in logits. Default: it gives logits.
        format: "litert", "onnx" or "openvino".
        representative: for LiteRT, raw images `(images, height, width, channels)` such as the model will see: all of
            its arithmetic, input and output then are 8-bit integers, in ranges measured on these images.

    Returns:
        `(path, deviation)`: of the file, and the largest absolute difference of its output from Keras', on the
        representative images or on random pixels; None where the format's runtime is not installed.

    Raises:
        ValueError: for a bad argument.
        ImportError: if the exporter is not installed; names the extra.
        RuntimeError: if the exporter fails, or the file (of floats) computes something else than Keras; nothing is left
            behind.

    Examples:
        >>> file, deviation = kd.serving.export_file(model, "served", "litert", "lite", preprocessing="unit")
        >>> deviation < 1e-3
        True
    """
    if format not in FILES:
        raise ValueError(f"format must be one of {', '.join(FILES)}. Received: format={format!r}")
    if representative is not None and format != "litert":
        raise ValueError(f'Representative images are for format="litert". Received: format={format!r}')
    if importlib.util.find_spec(_EXPORTERS[format]) is None:
        raise ImportError(f"{format} needs {_EXPORTERS[format]}: pip install 'keras-densenet[formats]'")
    name = name or model.name
    check_version(base_path, name, version)
    model = with_temperature(activated(prepared(model, preprocessing), activation))
    with new_version(base_path, name, version) as (target, beside):
        beside.mkdir()
        options = {} if representative is None else _full_integer(representative)
        copy, path = inference_form(model, folded), beside / FILES[format]
        images = _random_pixels(model) if representative is None else np.asarray(representative[:16], "float32")
        copy(images[:1], training=False)  # the ONNX exporter wants a model that was called
        with _exporter(format):
            copy.export(str(path), format=format, verbose=False, **options)
        deviation = None
        if importlib.util.find_spec(_RUNTIMES[format]) is not None:
            deviation = float(np.abs(_RUN[format](path, images) - model.predict_on_batch(images)).max())
            if representative is None and not deviation <= TOLERANCE:
                raise RuntimeError(f"The {format} file deviates from Keras by {deviation:.3g}, more than {TOLERANCE}")
    return target / FILES[format], deviation


@contextlib.contextmanager
def _exporter(format):
    """Tells whatever fails in the block as the exporter's failure, in one sentence."""
    try:
        yield
    except Exception as error:  # of any kind: it is another library's, on a Python or Keras that it may not know
        package = _EXPORTERS[format]
        version = getattr(sys.modules.get(package), "__version__", "")
        versions = f"{package} {version}, Keras {keras.__version__}"
        raise RuntimeError(
            f"The exporter to {format} failed ({versions}, Python {platform.python_version()}): "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        ) from error


def _full_integer(images):
    def one_by_one():
        for image in images:
            yield [np.asarray(image, "float32")[None]]

    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": one_by_one,
        "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        "inference_input_type": tf.uint8,
        "inference_output_type": tf.uint8,
    }


def _random_pixels(model):
    shape = [side or 64 for side in model.input_shape[1:]]
    return np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(model.inputs[0].dtype)


def _run_litert(path, images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its successor is a package apart
        interpreter = tf.lite.Interpreter(str(path))
    (given,), (found,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], (1, *images.shape[1:]))
    interpreter.allocate_tensors()
    rows = []
    for image in images:
        interpreter.set_tensor(given["index"], _quantize(image[None], given))
        interpreter.invoke()
        rows.append(_dequantize(interpreter.get_tensor(found["index"]), found))
    return np.concatenate(rows)


def _quantize(values, details):
    scale, zero = details["quantization"]
    return np.clip(np.round(values / scale + zero), 0, 255).astype(details["dtype"]) if scale else values


def _dequantize(values, details):
    scale, zero = details["quantization"]
    return (values.astype("float32") - zero) * scale if scale else values


def _run_onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def _run_openvino(path, images):
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    return openvino.Core().compile_model(str(path), "CPU", exact)(images)[0]


_RUN = {"litert": _run_litert, "onnx": _run_onnx, "openvino": _run_openvino}
