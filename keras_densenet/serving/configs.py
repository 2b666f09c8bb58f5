"""The servers' own configuration files, in the folder of all served models."""

import json
import pathlib
import re

from keras_densenet.files import written_beside
from keras_densenet.serving.extra import serving_api

_BATCHING = """\
# Batches that the server puts together from requests; it fills them up to the next allowed size.
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
allowed_batch_sizes: 16
allowed_batch_sizes: 32
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
# As many as the server has cores, or 1 to 2 with a GPU.
num_batch_threads { value: 4 }
"""
_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""


def allowed_batch_sizes(base_path):
    """The batch sizes of `batching.config`, or of the one that `write_configs` will write, as a list of ints."""
    file = pathlib.Path(base_path, "batching.config")
    text = file.read_text() if file.is_file() else _BATCHING
    sizes = [int(size) for size in re.findall(r"^\s*allowed_batch_sizes\s*:\s*(\d+)", text, re.MULTILINE)]
    return sorted(set(sizes)) or [1]


def write_configs(base_path, name):
    """Adds a model to `models.config`, and writes `batching.config` and `monitoring.config` where there are none.

    Args:
        base_path: folder of all served models, which the server sees as `/models`.
        name: of the model.
    """
    base_path = pathlib.Path(base_path)
    for file, text in (("batching.config", _BATCHING), ("monitoring.config", _MONITORING)):
        if not (base_path / file).exists():
            _write(base_path / file, text)

    from google.protobuf import text_format

    config, file = serving_api("config.model_server_config_pb2").ModelServerConfig(), base_path / "models.config"
    if file.exists():
        try:
            text_format.Parse(file.read_text(), config)
        except text_format.ParseError as error:
            raise ValueError(f"{str(file)!r} is not a configuration of TensorFlow Serving: {error}") from None
    models = config.model_config_list.config
    if name not in [model.name for model in models]:
        models.add(name=name, base_path=f"/models/{name}", model_platform="tensorflow")
        _write(file, text_format.MessageToString(config))


def write_openvino_config(base_path, names, hint):
    """Adds models to OpenVINO Model Server's `config.json`, or tells it another precision; other entries stay.

    Args:
        base_path: folder of all served models, which the server sees as `/models`.
        names: of the models.
        hint: what the server shall compute in, "f32", "bf16" or "f16".
    """
    file = pathlib.Path(base_path, "config.json")
    try:
        config = json.loads(file.read_text()) if file.exists() else {}
        models = {entry["config"]["name"]: entry["config"] for entry in config.setdefault("model_config_list", [])}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{str(file)!r} is not a configuration of OpenVINO Model Server") from None
    for name in names:
        if name not in models:
            models[name] = {"name": name, "base_path": f"/models/{name}"}
            config["model_config_list"].append({"config": models[name]})
        models[name].setdefault("plugin_config", {})["INFERENCE_PRECISION_HINT"] = hint
    _write(file, json.dumps(config, indent=2) + "\n")


def _write(path, text):
    with written_beside(path) as beside:
        beside.write_text(text)
