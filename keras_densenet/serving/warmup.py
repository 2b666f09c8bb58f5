"""Requests that the server runs before it takes a version into service, and those that only a check runs."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_densenet.serving.extra import serving_api
from keras_densenet.serving.samples import random_pixels, samples_for

WARMUP, FILES = (pathlib.Path("assets.extra", name) for name in ("tf_serving_warmup_requests", "check_requests"))


def write_warmup(served, folder, name, batch_sizes, images=None):
    """Writes a request for each signature and batch size, and apart from them one of `sample_files`.

    The requests of one image of random pixels and of the files come with what Keras answers to them, which the server
    ignores and `check_saved_model` compares with. So many files need not be a batch that the server allows.

    Args:
        served: a `Served`.
        folder: of the SavedModel.
        name: of the model.
        batch_sizes: list of ints.
        images: raw images of the user's own, of which some are written to be compared, too.
    """
    image, (files, pictures) = random_pixels(served), samples_for(served)
    of_image, sizes = served.answers_of_keras(image.astype("float32")), sorted({*batch_sizes} - {1})
    pathlib.Path(folder, WARMUP).parent.mkdir(exist_ok=True)
    warmups = []
    for signature, function in served.signatures.items():
        # In larger batches one value stands for all, which keeps the file small.
        if function.input_signature[0].dtype == tf.string:
            requests = [(file, (size,), {}) for size in (1, *sizes) for file in files[:1]]
        else:
            requests = [(image, image.shape, of_image), *((127, (size, *image.shape[1:]), {}) for size in sizes)]
        warmups += [(signature, *request) for request in requests]
    _write(served, pathlib.Path(folder, WARMUP), name, warmups)
    checks = [("image_bytes", files, (len(files),), _of_each(served, pictures))] if files else []
    if images is not None:
        images = _some(images)
        whole = images.astype("uint8")
        given = ("serving_uint8", whole) if (whole == images).all() else ("serving_default", images)
        checks.append((*given, images.shape, served.answers_of_keras(images)))
    if checks:
        _write(served, pathlib.Path(folder, FILES), name, checks)


def write_checks(served, folder, name, signature, images=None):
    """Writes requests of pixels for one signature, random ones, `sample_files` and the user's, with Keras' answers.

    Args:
        served, folder, name, images: as in `write_warmup`.
        signature: one that takes `image`.
    """
    batches = [random_pixels(served), *samples_for(served)[1], *([] if images is None else [_some(images)])]
    dtype = served.signatures[signature].input_signature[0].dtype.as_numpy_dtype
    batches = [batch.astype(dtype) for batch in batches]
    pathlib.Path(folder, FILES).parent.mkdir(exist_ok=True)
    answers = [served.answers_of_keras(batch.astype("float32")) for batch in batches]
    requests = [(signature, batch, batch.shape, found) for batch, found in zip(batches, answers, strict=True)]
    _write(served, pathlib.Path(folder, FILES), name, requests)


def _some(images):
    """At most 16 of the user's images, float32."""
    return np.asarray(images[:: -(-len(images) // 16)], "float32")


def _of_each(served, batches):
    """What Keras answers to batches, whatever size each has."""
    one_by_one = [served.answers_of_keras(batch) for batch in batches]
    return {name: np.concatenate([answers[name] for answers in one_by_one]) for name in one_by_one[0]}


def _write(served, path, name, requests):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, values, shape, answers in requests:
            function = served.signatures[signature]
            (spec,), outputs = function.input_signature, function.get_concrete_function().structured_outputs
            log = serving_api("apis.prediction_log_pb2").PredictionLog()
            request, response = log.predict_log.request, log.predict_log.response
            request.model_spec.name, request.model_spec.signature_name = name, signature
            request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(values, spec.dtype, shape))
            for key in answers.keys() & outputs.keys():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(answers[key]))
            writer.write(log.SerializeToString())


def read_requests(folder, file=WARMUP):
    """The predict requests of a SavedModel's file, a list of `(request, response)`."""
    logs = serving_api("apis.prediction_log_pb2")
    path = pathlib.Path(folder, file)
    records = tf.data.TFRecordDataset([str(path)]).as_numpy_iterator() if path.is_file() else ()
    logs = [logs.PredictionLog.FromString(record).predict_log for record in records]
    return [(log.request, log.response) for log in logs]
