"""The package as users get it: a wheel in an environment of its own, far from the sources."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import keras_densenet as kd

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "keras_densenet_launch.py", "keras_densenet")


def _run(*command, folder):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XLA_FLAGS"))}
    done = subprocess.run([*map(str, command)], cwd=folder, env=plain, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", ".", "-w", "dist", folder=folder)
    (found,) = (folder / "dist").iterdir()
    return found


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A virtual environment with the wheel; its dependencies are those of the environment that tests."""
    folder = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python"]
    _run(*pip, "install", "--no-deps", "--no-index", wheel, folder=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    paths = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (site_packages / "dependencies.pth").write_text("\n".join(paths) + "\n")
    return folder


@pytest.mark.slow
def test_a_wheel_has_the_package_its_types_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert wheel.name == f"keras_densenet-{kd.__version__}-py3-none-any.whl"
    assert "keras_densenet/py.typed" in names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "keras_densenet").rglob("*.py")}
    assert sources < names
    assert {name.split("/")[0].removesuffix(".py") for name in names if ".dist-info/" not in name} == {
        "keras_densenet",
        "keras_densenet_launch",
    }


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_quickstart_runs_from_an_installed_wheel_which_has_its_data(environment, tmp_path):
    where = _run(
        environment / "bin/python", "-c", "import keras_densenet; print(keras_densenet.__file__)", folder=tmp_path
    )
    assert pathlib.Path(where.strip()).is_relative_to(environment)
    program = environment / "bin/keras-densenet"
    assert "held-out digit" in _run(program, "quickstart", "--epochs", "1", folder=tmp_path)
    assert (tmp_path / "quickstart/served/digits/1/saved_model.pb").is_file()
    assert "keras-applications:densenet121" in _run(program, "weights", folder=tmp_path)
    assert "mobile" in _run(program, "search", "spaces", folder=tmp_path)
