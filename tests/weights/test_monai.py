"""MONAI's networks for signals, images and volumes: its names, its outputs, and files that it takes."""

import functools
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.weights.files import describe_file
from tests.weights import foreign

DIMENSIONS = [1, 2, 3]
NETWORKS = ["densenet121", "densenet169", "densenet201", "densenet264"]


def ours(dimensions, **others):
    """The network that the fixtures are, giving logits, for inputs of any size."""
    tiny = {"blocks": (2, 1), "growth_rate": 2, "stem": "imagenet", "classes": 3, "classifier_activation": None}
    return kd.DenseNet(**{**tiny, "input_shape": (*[None] * dimensions, 1), **others})


def file(dimensions):
    return foreign.FIXTURES / f"tiny_monai{dimensions}d.safetensors"


@functools.cache
def stored(dimensions):
    """`{name: array}` of a fixture, without the batches that torch counts in some files and can do without."""
    return {name: array for name, array in load_file(file(dimensions)).items() if "num_batches" not in name}


def agreeing(dimensions):
    """Those in which all readers of a feature have the statistics of the last one, as training leaves them."""
    tensors = dict(stored(dimensions))
    for layer in ("1", "2"):
        for statistic in ("running_mean", "running_var"):
            name = "features.denseblock1.denselayer{}.layers.norm1." + statistic
            values = tensors["features.transition1.norm." + statistic]
            tensors[name.format(layer)] = values[: len(tensors[name.format(layer)])]
    return tensors


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_its_files_give_its_outputs_and_go_back_to_its_names_and_shapes(dimensions, tmp_path):
    model = ours(dimensions)
    assert kd.load_weights(model, file(dimensions)) == []
    images, logits = foreign.fixture(f"tiny_monai{dimensions}d")
    np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-5)
    for ending in (".safetensors", ".pth", ".pt"):
        kd.save_weights(model, tmp_path / f"back{ending}", "monai")
        again = ours(dimensions, weights=tmp_path / f"back{ending}")
        assert all(map(np.array_equal, again.get_weights(), model.get_weights()))
    back = load_file(tmp_path / "back.safetensors")
    assert {name: array.shape for name, array in back.items()} == {
        name: array.shape for name, array in stored(dimensions).items()
    }


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_file_and_back_is_the_same_to_the_bit(dimensions, tmp_path):
    save_file(agreeing(dimensions), tmp_path / "there.safetensors")
    kd.save_weights(ours(dimensions, weights=tmp_path / "there.safetensors"), tmp_path / "back.safetensors", "monai")
    there, back = (load_file(tmp_path / f"{name}.safetensors") for name in ("there", "back"))
    assert there.keys() == back.keys()
    for name, array in there.items():
        np.testing.assert_array_equal(array, back[name], name)


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_a_file_is_told_and_the_command_converts_it(dimensions, tmp_path):
    told = CliRunner().invoke(app, ["weights", str(file(dimensions))], env={"COLUMNS": "80"}).output
    assert told.startswith("layout: monai\n")
    assert f"dimensions: {dimensions}\n" in told
    assert "classifier: 'class_layers.out', 3 classes\n" in told
    shape = ", ".join(["None"] * dimensions)
    assert f"input_shape=({shape}, 1), " in told
    for source, out, layout in (
        (file(dimensions), "a.weights.h5", "keras_densenet"),
        (tmp_path / "a.weights.h5", "b.pt", "monai"),
    ):
        command = ["convert", str(source), "--out", str(tmp_path / out), "--layout", layout]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.exception
    ours_, theirs = (describe_file(tmp_path / name)[""] for name in ("a.weights.h5", "b.pt"))
    assert (theirs.layout, theirs.architecture) == ("monai", ours_.architecture)
    images, logits = foreign.fixture(f"tiny_monai{dimensions}d")
    np.testing.assert_allclose(ours(dimensions, weights=tmp_path / "b.pt")(images), logits, rtol=0, atol=1e-5)


@pytest.fixture(params=DIMENSIONS)
def full_size(request, tmp_path):
    """The number of dimensions, and a folder with MONAI's networks: gigabytes that go when the test has ended."""
    foreign.skip_without_monai()
    foreign.run_torch("make", tmp_path, *(f"monai{request.param}d_{name}" for name in NETWORKS))
    yield request.param, tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_full_size_networks_give_its_outputs_and_it_takes_ours_strictly(full_size):
    dimensions, folder = full_size
    for name in NETWORKS:
        stem = folder / f"monai{dimensions}d_{name}"
        options = {"input_shape": (*[None] * dimensions, 2), "classes": 5, "classifier_activation": None}
        model = kd.create_model(name, weights=f"{stem}.safetensors", **options)
        with np.load(f"{stem}.npz") as there:
            images, logits = there.values()
        assert_equal(model(images), logits, stem.name)
        kd.save_weights(model, f"{stem}.back.safetensors", "monai")
    foreign.run_torch("check", folder, *(f"monai{dimensions}d_{name}" for name in NETWORKS))
    for name in NETWORKS:
        stem = folder / f"monai{dimensions}d_{name}"
        with np.load(f"{stem}.npz") as there, np.load(f"{stem}.back.npz") as back:
            assert_equal(list(back.values())[1], list(there.values())[1], f"{stem.name} and back")


def assert_equal(found, expected, what):
    found, deviation = np.asarray(found), expected.std()
    error = np.abs(found - expected).max()
    print(f"{what}: largest difference {error:.1e}, deviation of the logits {deviation:.2f}")
    assert deviation > 0.1
    assert error < 1e-5
