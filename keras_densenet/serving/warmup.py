"""Requests that the server runs before it takes a version into service."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_densenet.serving.extra import serving_api

FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")


def write_warmup(served, folder, name, batch_sizes):
    """Writes a request for each signature and batch size.

    The request of one image has random pixels and comes with what Keras answers to it, which the server ignores and
    `check_saved_model` compares with.

    Args:
        served: a `Served`.
        folder: of the SavedModel.
        name: of the model.
        batch_sizes: list of ints.
    """
    logs = serving_api("apis.prediction_log_pb2")
    image = np.random.default_rng(0).integers(0, 256, (1, *served.size, served.model.input_shape[-1])).astype("uint8")
    expected = served.answers_of_keras(image.astype("float32"))
    file = tf.io.encode_png(image[0]).numpy() if "image_bytes" in served.signatures else None
    path = pathlib.Path(folder, FILE)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, function in served.signatures.items():
            (spec,) = function.input_signature
            is_file, answers = spec.dtype == tf.string, function.get_concrete_function().structured_outputs
            for size in sorted({1, *batch_sizes}):
                log = logs.PredictionLog()
                request, response = log.predict_log.request, log.predict_log.response
                request.model_spec.name, request.model_spec.signature_name = name, signature
                if size == 1:
                    for key in expected.keys() & answers.keys():
                        response.outputs[key].CopyFrom(tf.make_tensor_proto(expected[key]))
                # In larger batches one value stands for all, which keeps the file small.
                values = file if is_file else image if size == 1 else 127
                shape = [size] if is_file else [size, *image.shape[1:]]
                request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(values, spec.dtype, shape))
                writer.write(log.SerializeToString())


def read_warmup(folder):
    """The predict requests of a SavedModel's warm-up file, a list of `(request, response)`."""
    logs = serving_api("apis.prediction_log_pb2")
    path = pathlib.Path(folder, FILE)
    records = tf.data.TFRecordDataset([str(path)]).as_numpy_iterator() if path.is_file() else ()
    logs = [logs.PredictionLog.FromString(record).predict_log for record in records]
    return [(log.request, log.response) for log in logs]
