"""The first minute: how the package and its command line start, and what they say where they cannot."""

import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import keras_densenet_launch
from keras_densenet import data, training
from keras_densenet.cli import app, quickstart

KERAS = "class backend:\n    backend = staticmethod(lambda: {backend!r})\n__version__ = {version!r}\n"


def _import(folder=None, command=(sys.executable, "-c", "import keras_densenet"), **settings):
    path = os.pathsep.join(filter(None, (str(folder or ""), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "nothing"])
def test_a_backend_that_is_not_there_is_named_and_no_extra_is_blamed(backend):
    sentence = "keras_densenet needs Keras 3 on TensorFlow: set KERAS_BACKEND=tensorflow"
    last = _import(KERAS_BACKEND=backend).stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {sentence}")
    assert backend in last
    done = _import(
        command=[shutil.which("keras-densenet", path=sys.prefix + "/bin"), "evaluate", "x"], KERAS_BACKEND=backend
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"keras-densenet cannot start: {sentence}")
    assert "pip install" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("version", "backend", "sentence"),
    [
        ("2.15.0", "tensorflow", "needs Keras 3: pip install 'keras>=3.15.1'. Received: 2.15.0"),
        ("3.15.1", "jax", "before Keras is imported. Received: Keras on jax"),
    ],
)
def test_another_keras_is_refused_at_import(tmp_path, version, backend, sentence):
    (tmp_path / "keras.py").write_text(KERAS.format(version=version, backend=backend))
    assert _import(tmp_path).stderr.splitlines()[-1].endswith(sentence)


def test_only_a_package_of_the_extra_is_said_to_be_missing():
    for name, told in {
        "typer": "keras-densenet needs typer: pip install 'keras-densenet[cli]'",
        "keras_densenet.gone": "keras-densenet cannot start: No module named 'keras_densenet.gone'",
        "tensorflow.python.gone": "keras-densenet cannot start: No module named 'tensorflow.python.gone'",
    }.items():
        with pytest.raises(SystemExit, match=f"^{told}$".replace("[", r"\[")), keras_densenet_launch.quiet("cli"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    with pytest.raises(SystemExit, match="cannot start: libfoo"), keras_densenet_launch.quiet("cli"):
        raise ImportError("libfoo.so.1: cannot open shared object file")


@pytest.mark.slow
def test_a_setting_for_the_keras_2_of_others_changes_nothing():
    script = "import keras_densenet as kd, numpy as np; kd.DenseNet(depth=10, growth_rate=2)(np.ones((1, 32, 32, 3)))"
    assert _import(command=[sys.executable, "-c", script], TF_USE_LEGACY_KERAS="1").returncode == 0


def test_start_up_is_quiet_and_every_command_has_an_example():
    command = shutil.which("keras-densenet", path=sys.prefix + "/bin")
    names = (
        "models",
        "train",
        "evaluate",
        "predict",
        "export",
        "request",
        "quickstart",
        "convert",
        "weights",
        "search",
        "recipes",
        "describe",
    )
    for name in names:
        assert "Example: keras-densenet" in CliRunner().invoke(app, [name, "--help"]).output
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert "quickstart" in done.stdout


@pytest.mark.slow
def test_the_quickstart_goes_from_digits_to_answers_of_a_fresh_process(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "QUICKSTART", {"blocks": (1, 1), "growth_rate": 4, "stem": "cifar"})
    result = CliRunner().invoke(app, ["quickstart", "--epochs", "1", "--out", str(tmp_path / "q 1")])
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if line.split()}
    labels = [str(label) for label in data.load_digits().test.labels[:10]]
    assert rows["truth"] == labels
    model = training.load_model(tmp_path / "q 1")[0]
    expected = np.argmax(model.predict_on_batch(data.load_digits().test.images[:10]), -1)
    assert rows["predicted"] == [str(label) for label in expected]
    (command,) = (line for line in result.output.splitlines() if line.startswith("Next: keras-densenet "))
    result = CliRunner().invoke(app, [*shlex.split(command)[2:], "--top", "1"])
    assert f"held-out-{labels[0]}.png  {expected[0]} " in result.output
