"""Exports for other runtimes than TensorFlow Serving: ONNX, OpenVINO and LiteRT."""

import importlib.util
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.models.flat import activated, with_temperature
from keras_densenet.serving.agreement import NARROW, check_precision
from keras_densenet.serving.card import write_card
from keras_densenet.serving.check import check_saved_model
from keras_densenet.serving.configs import write_openvino_config
from keras_densenet.serving.export import check_version, new_version, new_versions, write_labels
from keras_densenet.serving.graph import Served, inference_form, prepared
from keras_densenet.serving.runtimes import EXPORTERS, FILES, HINTS, RUNTIMES, exporter, write_file
from keras_densenet.serving.warmup import write_checks
from keras_densenet.types import Array, Mode, Path

TOLERANCE = 1e-4  # of LiteRT in floats


def export_file(
    model: keras.Model,
    base_path: Path,
    format: str,
    name: str | None = None,
    version: int | None = None,
    preprocessing: Mode | keras.Layer | None = None,
    *,
    labels: Sequence[str] | None = None,
    top_k: int | None = None,
    levels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    folded: bool = True,
    activation: str | None = None,
    precision: str | None = None,
    representative: Array | None = None,
    facts: Mapping[str, Any] | None = None,
) -> tuple[pathlib.Path, float | None]:
    """Writes ONNX, OpenVINO or LiteRT files to `<base_path>/<name>/<version>/`, and compares them with Keras.

    ONNX and OpenVINO have `export_saved_model`'s signatures of pixels, with the same names of inputs and outputs,
    labels, `model_card.json` and requests to check. A file has one signature: `serving_default` is served under `name`,
    `serving_uint8` as `<name>_uint8`, `features` as `<name>_features`. OpenVINO crashes where it chooses among strings:
    instead of `label` and `top_labels` there are `index` and `top_indices`, places in `labels.txt`, and `positive` is 0
    or 1; its server's `config.json` lies in `base_path`. LiteRT's file takes raw pixels and gives the model's output.

    Args:
        model: as in `export_saved_model`; for LiteRT any functional, or sequential and built Keras model with one input
            and one output.
        base_path, name, version, preprocessing, labels, top_k, levels, size, folded, facts: as in
            `export_saved_model`; LiteRT takes no labels, top_k, levels and size.
        format: "litert", "onnx" or "openvino".
        activation: as in `export_saved_model`; for LiteRT it may be left out, and the model gives logits.
        precision: for OpenVINO, "bfloat16" or "float16": the file has its weights in float16, half the bytes, and the
            server is told to compute so where the processor can. Default: float32.
        representative: raw images `(images, height, width, channels)` such as the model will see. For LiteRT: all of
            its arithmetic, input and output then are 8-bit integers, in ranges measured on these images. For OpenVINO
            in 16 bits: at most 16 are kept with the export, and compared.

    Returns:
        `(path, deviation)`: of the file under `name`, and the largest absolute difference of outputs from Keras'; None
        where the format's runtime is not installed.

    Raises:
        ValueError: for a bad argument, or if a file computes something else than Keras; nothing is left behind.
        ImportError: if the exporter is not installed; names the extra.
        RuntimeError: if the exporter fails; nothing is left behind.

    Examples:
        >>> file, deviation = kd.serving.export_file(model, "served", "litert", "lite", preprocessing="unit")
        >>> deviation < 1e-3
        True
    """
    if format not in FILES:
        raise ValueError(f"format must be one of {', '.join(FILES)}. Received: format={format!r}")
    check_precision(precision, folded)
    if precision and format != "openvino":
        raise ValueError(f'precision is for format="openvino". Received: format={format!r}, precision={precision!r}')
    if representative is not None and format != "litert" and precision not in NARROW:
        raise ValueError(
            f'Representative images are for format="litert", or "openvino" in 16 bits. Received: format={format!r}, '
            f"precision={precision!r}"
        )
    if format == "litert" and (labels is not None or top_k is not None or levels or size is not None):
        raise ValueError('format="litert" has one output and no labels: leave out labels, top_k, levels and size')
    for package in {EXPORTERS[format], RUNTIMES.get(format, "tensorflow")} - {"onnxruntime"}:
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"{format} needs {package}: pip install 'keras-densenet[formats]'")
    name = name or model.name
    check_version(base_path, name, version)
    if format == "litert":
        model = with_temperature(activated(prepared(model, preprocessing), activation))
        with new_version(base_path, name, version) as (target, beside):
            deviation = _export_litert(model, beside, folded, representative)
        return target / FILES[format], deviation
    network = model, preprocessing, labels, top_k, levels, size, folded, activation
    served = Served(*network, numbers=format == "openvino")
    served.precision = precision or "float32"  # the runtime's, whatever the graph is in
    facts = {**(facts or {}), "format": format}
    return _export_signatures(served, base_path, format, name, version, representative, facts)


def _export_signatures(served, base_path, format, name, version, images, facts):
    signatures = [key for key, function in served.signatures.items() if function.input_signature[0].name == "image"]
    names = [name, *(f"{name}_{signature.removeprefix('serving_')}" for signature in signatures[1:])]
    deviations = []
    with new_versions(base_path, names, version) as places:
        for signature, own_name, (target, beside) in zip(signatures, names, places, strict=True):
            beside.mkdir()
            function, path = served.signatures[signature], beside / FILES[format]
            write_file(function, path, format, signature, served.labels, served.precision)
            write_labels(served, beside / "labels.txt")
            write_checks(served, beside, own_name, signature, images)
            write_card(served, beside, own_name, int(target.name), facts, [signature])
            if importlib.util.find_spec(RUNTIMES[format]) is not None:
                deviations += check_saved_model(beside).deviation.values()
    if format == "openvino":
        write_openvino_config(base_path, names, HINTS[served.precision])
    return places[0][0] / FILES[format], max(deviations, default=None)


def _export_litert(model, beside, folded, representative):
    """Writes the file of a model from raw pixels; returns how far its output is from Keras'."""
    beside.mkdir()
    path, options = beside / FILES["litert"], {} if representative is None else _full_integer(representative)
    images = _random_pixels(model) if representative is None else np.asarray(representative[:16], "float32")
    with exporter("litert"):
        inference_form(model, folded).export(str(path), format="litert", verbose=False, **options)
    deviation = float(np.abs(_run_litert(path, images) - model.predict_on_batch(images)).max())
    if representative is None and not deviation <= TOLERANCE:
        raise ValueError(f"The litert file deviates from Keras by {deviation:.3g}, more than {TOLERANCE}")
    return deviation


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
