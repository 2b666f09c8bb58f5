"""A client of TensorFlow Serving, over REST or gRPC."""

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_densenet.serving.extra import serving_api
from keras_densenet.types import Array, Shape

RETRIES = 3
_GRPC_RETRY = """{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "0.1s",
"maxBackoff": "2s", "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


def connect(url: str, timeout: float = 30.0) -> "RestClient | GrpcClient":
    """Makes a client of a served model.

    Args:
        url: `http://host:8501/v1/models/NAME` (REST) or `grpc://host:8500/NAME`, also with https and grpcs, and with
            `/versions/3` behind for one version.
        timeout: seconds that one request may take.

    Returns:
        A client with `predict(signature, inputs)`, from a dict of arrays (or lists of bytes) to a dict of arrays,
        `inputs()`, the shapes that each signature takes, and `status()`. Strings come as `str`, but as `bytes` in
        outputs whose name ends in `_bytes`. It asks again, three times, when the server cannot be reached, is
        overloaded or just starting.

    Raises:
        ValueError: for a URL of another form.

    Examples:
        >>> client = kd.serving.connect("http://localhost:8501/v1/models/digits")
        >>> client.predict("serving_default", {"image": images})["label"]  # doctest: +SKIP
        array(['seven', ...
    """
    parts = urllib.parse.urlsplit(url)
    path = re.fullmatch(r"(?:/v1/models)?/([^/]+)(?:/versions/(\d+))?/?", parts.path)
    if parts.scheme not in ("http", "https", "grpc", "grpcs") or not parts.netloc or not path:
        raise ValueError(
            f"The URL must be like http://host:8501/v1/models/NAME or grpc://host:8500/NAME. Received: {url!r}"
        )
    name, version = path[1], int(path[2]) if path[2] else None
    kind = RestClient if parts.scheme.startswith("http") else GrpcClient
    return kind(parts.scheme.endswith("s"), parts.netloc, name, version, timeout)


class RestClient:
    """Speaks JSON; `connect` makes it."""

    def __init__(self, secure: bool, address: str, name: str, version: int | None, timeout: float) -> None:
        import requests
        import urllib3

        self._url = f"http{'s' * secure}://{address}/v1/models/{name}" + (f"/versions/{version}" if version else "")
        self._timeout, self._session = timeout, requests.Session()
        retry = urllib3.Retry(RETRIES, backoff_factor=0.1, status_forcelist=(429, 502, 503, 504), allowed_methods=None)
        retry.raise_on_status = False
        self._session.mount(f"{self._url}", requests.adapters.HTTPAdapter(max_retries=retry))

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Asks for a signature's outputs; bytes travel in base64, NaN and infinities as JavaScript writes them."""
        inputs = {name: _to_json(values) for name, values in inputs.items()}
        answer = self._ask("POST", ":predict", {"signature_name": signature, "inputs": inputs})["outputs"]
        if not isinstance(answer, dict) or answer.keys() == {"b64"}:  # the server leaves the name of an only output out
            answer = {self._only_output(signature): answer}
        return {name: _from_json(values) for name, values in answer.items()}

    def _only_output(self, signature):
        known = self._signatures()
        (name,) = known.get(signature or "serving_default", next(iter(known.values())))["outputs"]
        return name

    def _signatures(self):
        return self._ask("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]

    def inputs(self) -> dict[str, dict[str, Shape]]:
        """The shapes of each signature's inputs by name, None for a size that may be any."""

        def shape(tensor):
            return _shape(int(axis["size"]) for axis in tensor["tensor_shape"].get("dim", ()))

        known = self._signatures().items()
        return {name: {key: shape(value) for key, value in of.get("inputs", {}).items()} for name, of in known}

    def status(self) -> dict[int, str]:
        """The states of the versions, a dict by number."""
        found = self._ask("GET", "")["model_version_status"]
        return {int(version["version"]): version["state"] for version in found}

    def _ask(self, method, path, body=None):
        import requests

        data = None if body is None else json.dumps(body)  # which writes NaN, as `requests` alone does not
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._session.request(method, self._url + path, data=data, headers=headers, timeout=self._timeout)
        except requests.RequestException as error:
            raise ConnectionError(f"{self._url} does not answer: {error}") from None
        try:
            found = answer.json()
        except ValueError:
            found = {"error": answer.text[:300]}
        if answer.status_code != 200 or not isinstance(found, dict) or "error" in found:
            raise RuntimeError(f"{self._url} answers with {answer.status_code}: {found['error']}")
        return found


class GrpcClient:
    """Speaks protocol buffers; `connect` makes it."""

    def __init__(self, secure: bool, address: str, name: str, version: int | None, timeout: float) -> None:
        import grpc

        options = [("grpc.service_config", _GRPC_RETRY % (RETRIES + 1)), ("grpc.enable_retries", 1)]
        options += [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        if secure:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._address, self._name, self._version, self._timeout = address, name, version, timeout

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Asks for a signature's outputs; arrays must have the signature's types."""
        import tensorflow as tf

        request = self._for_model(serving_api("apis.predict_pb2").PredictRequest())
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        stub = serving_api("apis.prediction_service_pb2_grpc").PredictionServiceStub(self._channel)
        answer = self._ask(stub.Predict, request)
        found = {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}
        return {name: value if name.endswith("_bytes") else _text(value) for name, value in found.items()}

    def inputs(self) -> dict[str, dict[str, Shape]]:
        """The shapes of each signature's inputs by name, None for a size that may be any."""
        api = serving_api("apis.get_model_metadata_pb2")
        stub = serving_api("apis.prediction_service_pb2_grpc").PredictionServiceStub(self._channel)
        request = self._for_model(api.GetModelMetadataRequest(metadata_field=["signature_def"]))
        known = api.SignatureDefMap()
        self._ask(stub.GetModelMetadata, request).metadata["signature_def"].Unpack(known)

        def shape(tensor):
            return _shape(axis.size for axis in tensor.tensor_shape.dim)

        signatures = known.signature_def.items()
        return {name: {key: shape(value) for key, value in of.inputs.items()} for name, of in signatures}

    def status(self) -> dict[int, str]:
        """The states of the versions, a dict by number."""
        api = serving_api("apis.get_model_status_pb2")
        stub = serving_api("apis.model_service_pb2_grpc").ModelServiceStub(self._channel)
        answer = self._ask(stub.GetModelStatus, self._for_model(api.GetModelStatusRequest()))
        states = api.ModelVersionStatus.State
        return {found.version: states.Name(found.state) for found in answer.model_version_status}

    def _for_model(self, request):
        request.model_spec.name = self._name
        if self._version:
            request.model_spec.version.value = self._version
        return request

    def _ask(self, method, request):
        import grpc

        try:
            return method(request, timeout=self._timeout)
        except grpc.RpcError as error:
            lost = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
            kind, what = (ConnectionError, "does not answer") if lost else (RuntimeError, "refuses")
            raise kind(f"{self._address} {what}, {error.code().name}: {error.details()}") from None


def _shape(sizes):
    return tuple(None if size < 0 else size for size in sizes)


def _to_json(values):
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()}
    if isinstance(values, (list, tuple)):
        return [_to_json(value) for value in values]
    if hasattr(values, "shape"):
        values = np.asarray(values)
        return _to_json(values.tolist()) if values.dtype.kind in "OS" else values.tolist()
    return values


def _from_json(values):
    def decoded(value):
        if isinstance(value, list):
            return [decoded(part) for part in value]
        return base64.b64decode(value["b64"]) if isinstance(value, dict) else value

    first = values
    while isinstance(first, list) and first:
        first = first[0]
    return np.array(decoded(values), object) if isinstance(first, dict) else np.array(values)


def _text(values):
    """Strings of an array of bytes; any other array as it is."""
    if values.dtype != object:
        return values
    return np.array([value.decode(errors="replace") for value in values.flat]).reshape(values.shape)
