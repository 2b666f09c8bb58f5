"""What starts without TensorFlow, and that `import keras_densenet` gives all that it gave when it did not."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import keras_densenet
from keras_densenet import explain, training
from keras_densenet.cli import app
from keras_densenet.cost import _ARGUMENTS
from tests import tiny

HEAVY = {"tensorflow", "keras", "keras_tuner", "numpy", "matplotlib", "PIL"}
ROOMS = ["", ".data", ".explain", ".models", ".serving", ".training", ".weights"]
# Ends in the exit code and what was imported, both on one line.
COMMAND = """
import json, sys
import keras_densenet_launch
sys.argv = ["keras-densenet", *sys.argv[1:]]
try:
    keras_densenet_launch.main()
    code = 0
except SystemExit as end:
    code = end.code or 0
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def _python(flag, script, *words):
    return subprocess.run([sys.executable, flag, script, *words], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("models", 0),
        ("weights", 0),
        ("recipes", 0),
        ("search spaces", 0),
        ("describe densenet121 --no-time", 0),
        ("search run --help", 0),
        ("modles", 2),
        ("train --no-such-option", 2),
        ("describe densenet122 --no-time --image-size", 2),
    ],
)
def test_what_needs_no_tensorflow_does_not_import_it(words, code):
    done = _python("-c", COMMAND, *words.split())
    found, imported = json.loads(done.stdout.splitlines()[-1])
    assert found == code
    assert not HEAVY & set(imported)


def test_python_m_is_the_command_line():
    done = _python("-m", "keras_densenet", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{keras_densenet.__version__}\n", "")
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "--install-completion" in told


@pytest.mark.slow
def test_keras_loads_a_file_where_the_package_is_imported_and_nothing_of_it_was_used(tmp_path):
    model = tiny.network()
    model.compile(training.Recipe().optimizer())
    model.save(tmp_path / "a.keras")
    script = "import keras_densenet, keras, sys; print(type(keras.saving.load_model(sys.argv[1]).optimizer).__name__)"
    assert _python("-c", script, str(tmp_path / "a.keras")).stdout == "PaperSGD\n"


@pytest.mark.parametrize("room", ROOMS)
def test_a_name_of_a_package_is_no_module_of_it_and_is_listed(room):
    package = importlib.import_module(f"keras_densenet{room}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not module.name.endswith(("__main__", "run_saved_model", "torch_files")):
            importlib.import_module(module.name)
    for name in package.__all__:
        is_room = f".{name}" in [*ROOMS, ".layers"]
        assert inspect.ismodule(getattr(package, name)) == (is_room and not room), name
        assert name in dir(package)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_help_and_costs_know_what_heavier_modules_have():
    told = CliRunner().invoke(app, ["explain", "cam", "--help"], env={"COLUMNS": "200"}).output
    assert all(method in told for method in explain.METHODS)
    assert set(inspect.signature(keras_densenet.DenseNet).parameters) == _ARGUMENTS
