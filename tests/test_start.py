"""What the package and its command line say where they cannot start."""

import os
import shutil
import subprocess
import sys

import pytest

import keras_densenet_launch

KERAS = "class backend:\n    backend = staticmethod(lambda: {backend!r})\n__version__ = {version!r}\n"


def _import(folder=None, command=(sys.executable, "-c", "import keras_densenet"), **settings):
    path = os.pathsep.join(filter(None, (str(folder or ""), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, **settings}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


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


def test_a_setting_for_the_keras_2_of_others_changes_nothing():
    script = "import keras_densenet as kd, numpy as np; kd.DenseNet(depth=10, growth_rate=2)(np.ones((1, 32, 32, 3)))"
    assert _import(command=[sys.executable, "-c", script], TF_USE_LEGACY_KERAS="1").returncode == 0
