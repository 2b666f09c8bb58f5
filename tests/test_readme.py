"""The README does what it says: its Python runs, its commands are commands, its tables are what commands make."""

import dataclasses
import functools
import hashlib
import http.server
import importlib.util
import re
import threading
import tomllib

import numpy as np
import pytest
import tensorflow as tf
import typer
from huggingface_hub import constants
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import training
from keras_densenet.cli import app
from keras_densenet.weights import catalogue
from tests import readme
from tests.training import processes

TRAINS = ("train", "quickstart")  # for hours, or in test_wheel.py
ELSEWHERE = ("python3.11", ".venv/bin/pip", ".venv/bin/pytest", "docker")  # .ci/run installs; there is no server here


class Published(http.server.BaseHTTPRequestHandler):
    """Where weights are published, to a client: random ones, by the ending of their name."""

    files: dict[str, bytes]

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        body = next((content for name, content in self.files.items() if self.path.endswith(name)), None)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(body or b"").hexdigest()}"')
        self.end_headers()
        if with_body:
            self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Random weights of DenseNet-121 where the catalogue's are downloaded from: same clients, names and layouts."""
    kd.save_weights(kd.DenseNet121(), tmp_path / "model.safetensors", layout="torchvision")
    kd.save_weights(kd.DenseNet121(include_top=False), tmp_path / "notop.h5", layout="keras")
    files = {name: (tmp_path / name).read_bytes() for name in ("model.safetensors", "notop.h5")}
    handler = type("Handler", (Published,), {"files": files})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        name = "keras-applications:densenet121.notop"
        here = {"url": f"{url}/notop.h5", "hash": f"md5:{hashlib.md5(files['notop.h5']).hexdigest()}"}
        monkeypatch.setitem(catalogue.CHECKPOINTS, name, dataclasses.replace(catalogue.CHECKPOINTS[name], **here))
        yield
        server.shutdown()


@pytest.mark.timeout(900)
def test_the_python_blocks_run_in_order(published, tmp_path, monkeypatch, capsys):
    """What the reader brings is here: a few images of five classes."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3)).astype("float32")
    data = tf.data.Dataset.from_tensors((images[:2], np.arange(2)))
    mine = {"images": images, "names": list("abcde"), "train_data": data, "validation_data": data}
    for block in readme.blocks("python"):
        exec(compile(block, "README.md", "exec"), mine)
    assert "5,752" in f"{int(capsys.readouterr().out.splitlines()[0]) // 10**6:,}"  # MACs of DenseNet-264
    assert mine["model"].preprocessing == "torch"
    assert mine["skipped"] == ["classifier/kernel", "classifier/bias"]
    assert (tmp_path / "work" / "densenet121.safetensors").is_file()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands start from: a run, photos, a file of Keras' weights."""
    folder = tmp_path_factory.mktemp("place")
    digits = kd.data.load_digits()
    training.train(
        processes.NETWORK, "digits", digits, training.Recipe(epochs=1, batch_size=256, xla=False), folder / "runs/a"
    )
    (folder / "photos").mkdir()
    for path in (folder / "photos/a.png", folder / "seven.png"):
        Image.fromarray(digits.test.images[0, :, :, 0].astype("uint8")).save(path)
    kd.save_weights(kd.DenseNet121(), folder / "keras.h5", layout="keras")
    return folder


OURS = [words for words in readme.commands() if words[0].endswith("keras-densenet")]


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_is_understood_and_does_what_it_says(words, place, monkeypatch):
    monkeypatch.chdir(place)
    group = typer.main.get_command(app)
    with group.make_context("keras-densenet", words[1:]) as context:
        _, command, arguments = group.resolve_command(context, words[1:])
        command.make_context(command.name, arguments).close()  # raises what a wrong option would
    if words[1] in TRAINS or words[1] == "request":
        return
    result = CliRunner().invoke(app, words[1:], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    if "--out" in words:
        assert (place / words[words.index("--out") + 1]).exists()


def test_other_commands_are_known_and_their_extras_and_files_exist(place):
    others = [words for words in readme.commands() if words not in OURS]
    assert {words[0] for words in others} == set(ELSEWHERE)
    text = readme.FILE.read_text()
    extras = tomllib.loads((readme.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.findall(r"'(?:keras-densenet|\.)\[(\w+)\]'", text)
    assert len(found) > 3
    assert set(found) <= set(extras)
    modules = re.findall(r"python -m (benchmarks\.\w+)", text)
    assert len(modules) > 3
    assert all(map(importlib.util.find_spec, modules))
    for script in re.findall(r"`python (\S+\.py)`", text):
        assert (readme.ROOT / script).is_file()


def test_names_in_the_text_exist():
    for path in re.findall(r"`?kd\.([A-Za-z_][\w.]*)", readme.FILE.read_text()):
        functools.reduce(getattr, path.rstrip(".").split("."), kd)


@pytest.mark.parametrize("command", readme.made())
def test_what_a_command_makes_is_in_the_text(command):
    """Otherwise: python -m tests.readme."""
    assert readme.made()[command] == readme.output_of(command)
