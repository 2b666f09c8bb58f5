"""A loopback server with TensorFlow Serving's interface, gRPC and REST, on TensorFlow's C loader, or a file's runtime.

It polls the base path for the newest version and replays its warm-up requests before it takes it into service.
"""

import base64
import concurrent.futures
import contextlib
import functools
import http.server
import json
import pathlib
import re
import threading

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_densenet.serving.runtimes import loaded
from keras_densenet.serving.warmup import read_requests


class Server:
    """One served model; a context manager. `unavailable` counts the next REST requests that are answered with 503."""

    def __init__(self, base_path, name, max_bytes=4 << 20):
        self.folder, self.name, self.max_bytes = pathlib.Path(base_path, name), name, max_bytes
        self.versions, self.warmed, self.unavailable = {}, 0, 0
        self._stopped = threading.Event()

    def __enter__(self):
        self._load_newest()
        self._poller = threading.Thread(target=self._poll)
        self._poller.start()
        options = [("grpc.max_receive_message_length", self.max_bytes)]
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(self), self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(self), self._grpc)
        self.grpc_url = f"grpc://127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}/{self.name}"
        self._grpc.start()
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Rest)
        self._http.owner = self
        self.rest_url = f"http://127.0.0.1:{self._http.server_port}/v1/models/{self.name}"
        self._web = threading.Thread(target=self._http.serve_forever)
        self._web.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._grpc.stop(1).wait()
        self._http.shutdown()
        self._http.server_close()
        self._poller.join()
        self._web.join()
        for model in self.versions.values():
            model.close()

    def find(self, name, version=None):
        if name != self.name or (version and version not in self.versions):
            raise LookupError(f"Servable not found for request: {name} {version or ''}")
        version = version or max(self.versions)
        return version, self.versions[version]

    def _poll(self):
        while not self._stopped.wait(0.05):
            self._load_newest()

    def _load_newest(self):
        version = max(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())
        if version not in self.versions:
            model = loaded(self.folder / str(version))
            for request, _ in read_requests(self.folder / str(version)):
                model.run(request.model_spec.signature_name, _arrays(request))
                self.warmed += 1
            self.versions[version] = model


def _arrays(request):
    return {name: tf.make_ndarray(value) for name, value in request.inputs.items()}


@contextlib.contextmanager
def _codes(context):
    try:
        yield
    except LookupError as error:
        context.abort(grpc.StatusCode.NOT_FOUND, str(error))
    except ValueError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self.server = server

    def Predict(self, request, context):
        with _codes(context):
            spec, answer = request.model_spec, predict_pb2.PredictResponse()
            version, model = self.server.find(spec.name, spec.version.value)
            answer.model_spec.name, answer.model_spec.version.value = spec.name, version
            for name, value in model.run(spec.signature_name or "serving_default", _arrays(request)).items():
                answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
            return answer

    def GetModelMetadata(self, request, context):
        with _codes(context):
            _, model = self.server.find(request.model_spec.name, request.model_spec.version.value)
            found, answer = get_model_metadata_pb2.SignatureDefMap(), get_model_metadata_pb2.GetModelMetadataResponse()
            for name, signature in model.signatures.items():
                found.signature_def[name].CopyFrom(signature)
            answer.metadata["signature_def"].Pack(found)
            return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server):
        self.server = server

    def GetModelStatus(self, request, context):
        with _codes(context):
            self.server.find(request.model_spec.name)
            answer = get_model_status_pb2.GetModelStatusResponse()
            for version in self.server.versions:
                state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
                answer.model_version_status.add(version=version, state=state)
            return answer


class _Rest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.endswith("/metadata"):
            return self._try(self._metadata)
        versions = self.server.owner.versions
        return self._status(versions)

    def _status(self, versions):
        self._answer(200, {"model_version_status": [{"version": str(v), "state": "AVAILABLE"} for v in versions]})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.owner.unavailable:
            self.server.owner.unavailable -= 1
            return self._answer(503, {"error": "overloaded"})
        return self._try(lambda: self._predict(json.loads(body)))

    def _try(self, make):
        try:
            return self._answer(200, make())
        except LookupError as error:
            return self._answer(404, {"error": str(error)})
        except ValueError as error:
            return self._answer(400, {"error": str(error)})

    def _model(self):
        name, version = re.match(r"/v1/models/([^/:]+)(?:/versions/(\d+))?", self.path).groups()
        return self.server.owner.find(name, version and int(version))

    def _metadata(self):
        version, model = self._model()
        as_dict = functools.partial(json_format.MessageToDict, preserving_proto_field_name=True)
        known = {name: as_dict(signature) for name, signature in model.signatures.items()}
        spec = {"name": self.server.owner.name, "signature_name": "", "version": str(version)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": known}}}

    def _predict(self, body):
        _, model = self._model()
        signature = body.get("signature_name", "serving_default")
        if signature not in model.signatures:
            raise ValueError(f"Serving signature name: {signature!r} not found")
        known = model.signatures[signature].inputs
        columns = body.get("inputs")
        if columns is None:
            rows = [
                row if isinstance(row, dict) and "b64" not in row else {next(iter(known)): row}
                for row in body["instances"]
            ]
            columns = {key: [row[key] for row in rows] for key in rows[0]}
        elif not isinstance(columns, dict):
            columns = {next(iter(known)): columns}
        if unknown := [key for key in columns if key not in known]:
            raise ValueError(f"{signature} does not take {', '.join(unknown)}")
        found = model.run(signature, {key: _from_json(value, known[key].dtype) for key, value in columns.items()})
        plain = {key: _to_json(key, value) for key, value in found.items()}
        if len(plain) == 1:  # whose name the server leaves out
            (only,) = plain.values()
            return {"outputs" if "inputs" in body else "predictions": only}
        if "inputs" in body:
            return {"outputs": plain}
        return {"predictions": [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]}

    def _answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def _from_json(values, dtype):
    if dtype == tf.string.as_datatype_enum:
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    return np.array(values, tf.as_dtype(dtype).as_numpy_dtype)


def _to_json(name, values):
    if values.dtype != object:
        return values.tolist()
    is_binary = name.endswith("_bytes")
    found = [{"b64": base64.b64encode(value).decode()} if is_binary else value.decode() for value in values.flat]
    return np.array(found, object).reshape(values.shape).tolist()
