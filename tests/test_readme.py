"""README and docs/ do what they say: Python runs, commands are commands, tables are what commands make."""

import functools
import hashlib
import http.server
import importlib.util
import inspect
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import tomllib

import keras
import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import data, search, training
from keras_densenet.cli import app
from keras_densenet.family import VARIANTS
from tests import readme
from tests.training import processes

TRAINS = ("train", "quickstart", "search run")  # for minutes to hours, or in test_wheel.py
ELSEWHERE = (
    "python3.11",
    "pip",
    ".venv/bin/pip",
    ".venv/bin/pytest",
    "docker",
)  # .ci/run installs; there is no server here


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


SHORT = {**VARIANTS["densenet121"], "blocks": (1, 1, 1, 1)}  # what pages do with DenseNet-121 takes minutes


@pytest.fixture
def short(monkeypatch):
    """DenseNet-121 has one layer in each block."""
    monkeypatch.setitem(VARIANTS, "densenet121", SHORT)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of the short DenseNet-121 as timm and Keras publish them: a dict of paths."""
    folder = tmp_path_factory.mktemp("weights")
    files = {name: folder / name for name in ("model.safetensors", "notop.h5", "keras.h5")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "densenet121", SHORT)
        kd.save_weights(model := kd.DenseNet121(), files["model.safetensors"], layout="torchvision")
        kd.save_weights(model, files["keras.h5"], layout="keras")
        kd.save_weights(kd.DenseNet121(include_top=False), files["notop.h5"], layout="keras")
    return files


@pytest.fixture
def published(weights):
    """The URL of a server that has them where the catalogue's lie: the same clients fetch them."""
    handler = type("Handler", (Published,), {"files": {name: path.read_bytes() for name, path in weights.items()}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# What readers bring: a few images of five classes. The hash of what Keras publishes is the one thing that differs.
READERS = """
import dataclasses, json, os, pathlib, sys, time
import keras, numpy as np, tensorflow as tf
import keras_densenet as kd
from keras_densenet.family import VARIANTS
from keras_densenet.weights import catalogue

pages, VARIANTS["densenet121"], url, md5 = *map(json.loads, sys.argv[1:3]), *sys.argv[3:]
name = "keras-applications:densenet121.notop"
catalogue.CHECKPOINTS[name] = dataclasses.replace(catalogue.CHECKPOINTS[name], url=url, hash=f"md5:{md5}")
kd.fine_tune.__kwdefaults__.update(jit_compile=False, head_epochs=1, epochs=1)
images = np.random.default_rng(0).integers(0, 256, (4, 40, 30, 3)).astype("float32")
data = tf.data.Dataset.from_tensors((images[:2], np.arange(2)))
brought = {"images": images, "train_data": data, "validation_data": data, "names": list("abcde")}
where = pathlib.Path.cwd()
for page, blocks in pages.items():
    folder = where / pathlib.Path(page).stem
    folder.mkdir()
    os.chdir(folder)
    keras.utils.set_random_seed(0)
    found, start = dict(brought), time.perf_counter()
    for block in blocks:
        exec(compile(block, page, "exec"), found)
    print(f"{page} took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    keras.backend.clear_session()
"""
LEFT = {  # by the blocks of a page, in its folder
    "decisions": {"calibrated.keras"},
    "README": set(),
    "explaining": {"densenet121.svg", "reuse.png"},
    "search": {"searches"},
    "serving": {"served"},
    "training": {"runs"},
    "volumes": {"volume.png"},
    "weights": {"densenet121.safetensors"},
}


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_python_blocks_of_a_page_run_in_order(published, weights, tmp_path):
    settings = {
        "HF_ENDPOINT": published,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "KERAS_HOME": str(tmp_path / "keras"),
        "PYTHONPATH": str(readme.ROOT),
    }
    pages = {name: readme.blocks(path.read_text(), "python") for name, path in readme.PAGES.items()}
    md5 = hashlib.md5(weights["notop.h5"].read_bytes()).hexdigest()
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READERS, json.dumps(pages), json.dumps(SHORT), f"{published}/notop.h5", md5],
        cwd=tmp_path / "work",
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    left = {folder.name: {path.name for path in folder.iterdir()} for folder in (tmp_path / "work").iterdir()}
    assert left == {pathlib.Path(page).stem: LEFT.get(pathlib.Path(page).stem, set()) for page in pages}
    assert "block4 (7, 7) 1 x (1x1, 3x3 conv) 68" in done.stdout
    assert "kd.DenseNet(blocks=(" in done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory, weights):
    """A folder with what the commands start from: runs, of many labels too, a search, photos, a file of weights."""
    folder, digits = tmp_path_factory.mktemp("place"), kd.data.load_digits()
    recipe = training.Recipe(epochs=1, batch_size=256, xla=False)
    training.train(processes.NETWORK, "digits", digits, recipe, folder / "runs/a")
    space = kd.DenseNetHyperModel((32, 32, 1), 10, blocks="1 1", growth_rate=2, bottleneck=True, recipe=recipe)
    name, folder_of_search = {"name": "digits"}, folder / "searches/digits"
    search.search(folder_of_search, space, search.Budget(), digits, name, algorithm="random", trials=1)
    shutil.copytree(folder_of_search, folder / "searches/front")
    (folder / "photos").mkdir()
    Image.fromarray(digits.test.images[0, :, :, 0].astype("uint8")).save(folder / "photos/a.png")
    shutil.copy(weights["keras.h5"], folder)
    xrays = [folder / f"xrays/{number}.png" for number in range(40)]
    xrays[0].parent.mkdir()
    for file, image in zip(xrays, digits.train.images, strict=False):
        Image.fromarray(image[..., 0].astype("uint8")).save(file)
    rows = [f"{file.name},p{number // 2},{number % 2},{number // 20}" for number, file in enumerate(xrays)]
    (folder / "xrays.csv").write_text("\n".join(["path,patient,Effusion,Mass", *rows]))
    table = {"source": str(folder / "xrays.csv"), "images": str(folder / "xrays")}
    recipe = recipe.changed(batch_size=8, dropout_rate=0.2)
    training.train(processes.NETWORK, table, data.load(table), recipe, folder / "runs/xrays")
    return folder


OURS = [words for words in readme.commands() if words[0].endswith("keras-densenet")]


@pytest.mark.slow
@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_is_understood_and_does_what_it_says(words, place, short, monkeypatch):
    monkeypatch.chdir(place)
    group = typer.main.get_command(app)
    with group.make_context("keras-densenet", words[1:]) as context:
        _, command, arguments = group.resolve_command(context, words[1:])
        command.make_context(command.name, arguments).close()  # raises what a wrong option would
    if " ".join(words[1:]).startswith((*TRAINS, "request")):
        return
    result = CliRunner().invoke(app, words[1:], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    if "--out" in words:
        assert (place / words[words.index("--out") + 1]).exists()


def test_other_commands_are_known_and_their_extras_and_files_exist():
    others = [words for words in readme.commands() if words not in OURS]
    assert {words[0] for words in others} <= {*ELSEWHERE, "python"}
    scripts = [words[1] for words in others if words[0] == "python" and words[1] != "-m"]
    text = readme.text()
    extras = tomllib.loads((readme.ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = re.findall(r"'(?:keras-densenet|\.)\[(\w+)\]'", text)
    assert len(found) > 3
    assert set(found) <= set(extras)
    modules = re.findall(r"python -m (\w+\.\w+)", text)
    assert len(modules) > 3
    assert all(map(importlib.util.find_spec, modules))
    for script in [*scripts, *re.findall(r"`python (\S+\.py)\b", text)]:
        assert (readme.ROOT / script).is_file()


def test_names_in_the_text_exist():
    for path in re.findall(r"`?kd\.([A-Za-z_][\w.]*)", readme.text()):
        functools.reduce(getattr, path.rstrip(".").split("."), kd)


@pytest.mark.parametrize(("page", "command"), readme.made())
def test_what_a_command_makes_is_in_the_text(page, command):
    """Otherwise: python -m tests.readme."""
    assert readme.made()[page, command] == readme.output_of(command)


@pytest.mark.slow
def test_what_differs_from_keras_applications_is_what_the_readme_says(tmp_path):
    theirs = keras.applications.DenseNet121(weights=None, include_top=False)
    ours = kd.DenseNet121(include_top=False)
    assert (len(theirs.layers), len(ours.layers)) == (427, 11)
    known, told = (inspect.signature(build).parameters for build in (keras.applications.DenseNet121, kd.DenseNet121))
    assert [*known, "dtype"] == list(told)
    assert [name for name in known if known[name].default != told[name].default] == ["weights"]
    before = [variable.numpy() for variable in ours.variables]
    kd.save_weights(kd.DenseNet121(include_top=False), tmp_path / "keras.h5", layout="keras")
    ours.load_weights(tmp_path / "keras.h5", by_name=True)
    assert all(map(np.array_equal, before, ours.variables))
    for layer in theirs.layers[:313]:
        layer.trainable = False
    kd.freeze(ours, "transition3")
    left = [sum(np.prod(w.shape) for w in model.trainable_weights) for model in (theirs, ours)]
    assert left[0] == left[1]


def test_the_readme_is_read_in_ten_minutes():
    assert len(readme.PAGES["README.md"].read_text().splitlines()) <= 250
