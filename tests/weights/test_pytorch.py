"""PyTorch's files give their tensors without PyTorch, and PyTorch takes ours."""

import pathlib
import shutil
import subprocess
import zipfile

import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet.weights import containers
from tests.weights import foreign
from tests.weights.foreign import FIXTURES


def read(path):
    with containers.opened(path) as tensors:
        return {name: tensor[()] for name, tensor in tensors.items()}


def assert_holds(path, known):
    """Asserts that a file holds the arrays of an `.npz`, by name, in order, and exactly."""
    found = read(path)
    with np.load(known) as arrays:
        assert list(found) == list(arrays)
        for name, expected in arrays.items():
            array = found[name]
            assert array.shape == expected.shape
            assert array.dtype.name == ("bfloat16" if name.endswith("bfloat") else expected.dtype)
            np.testing.assert_array_equal(np.asarray(array, expected.dtype), expected)


@pytest.mark.parametrize("name", ["values.pt", "values.bin"])
def test_strided_shared_and_short_numbers_are_what_they_were_in_both_formats(name):
    assert_holds(FIXTURES / name, FIXTURES / "values.npz")


@pytest.mark.parametrize("name", ["module.pth", "module.th"])
def test_a_whole_module_gives_its_state_dict_in_both_formats(name):
    assert_holds(FIXTURES / name, FIXTURES / "module.npz")


@pytest.mark.parametrize("ending", [".pt", ".pth.tar", ".ckpt", ".th", ".bin", ".h5", ".weights", ""])
def test_content_decides_and_not_the_ending(ending, tmp_path):
    for name in ("values.pt", "values.bin"):
        path = shutil.copy(FIXTURES / name, tmp_path / f"file{ending}")
        assert_holds(path, FIXTURES / "values.npz")


@pytest.mark.parametrize("ending", [".pth", ""])
def test_files_of_other_formats_are_told_by_their_content_too(ending, tmp_path):
    model, path = foreign.ours(), tmp_path / f"file{ending}"
    model.save(tmp_path / "ours.keras")
    kd.save_weights(model, tmp_path / "ours.weights.h5")
    kd.save_weights(model, tmp_path / "theirs.h5", "keras")
    kd.save_weights(model, tmp_path / "theirs.safetensors", "torchvision")
    for file in sorted(tmp_path.iterdir()):
        shutil.move(file, path)
        assert foreign.difference(foreign.ours(weights=path), model, foreign.images()) < 1e-5


def test_a_tensor_is_read_when_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.ZipExtFile, "read", _counted(zipfile.ZipExtFile.read, counts := []))
    with containers.opened(FIXTURES / "module.pth") as tensors:
        before = len(counts)
        assert tensors["module.classifier.weight"].shape == (2, 2)
        assert len(counts) == before
        tensors["module.classifier.weight"][()]
        assert counts[before:] == [16]


def _counted(function, counts):
    def call(self, size):
        counts.append(size)
        return function(self, size)

    return call


def test_a_file_in_which_a_bit_of_a_tensor_has_flipped_is_refused(tmp_path):
    path = tmp_path / "bad.pth"
    content = bytearray((FIXTURES / "module.pth").read_bytes())
    with np.load(FIXTURES / "module.npz") as arrays:
        content[content.index(arrays["module.classifier.weight"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a complete file of weights .*Bad CRC-32") as error:
        read(path)
    foreign.one_sentence(error, path)


def test_a_compressed_archive_is_read(tmp_path):
    packed = zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(FIXTURES / "values.pt") as source, packed as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert_holds(tmp_path / "a.zip", FIXTURES / "values.npz")


def test_what_is_written_is_what_is_read(tmp_path):
    kinds = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
    arrays = {f"one.{kind}": np.arange(6).reshape(2, 3).astype(kind) for kind in kinds}
    arrays |= {"scalar": np.array(2.0), "transposed": np.arange(6.0).reshape(2, 3).T, "empty": np.zeros((0, 2))}
    containers.write(tmp_path / "a.pth", arrays)
    found = read(tmp_path / "a.pth")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_nothing_in_the_package_advises_to_unpickle_or_needs_torch():
    source = "\n".join(path.read_text() for path in pathlib.Path(kd.__file__).parent.rglob("*.py"))
    for word in ("weights_only=False", "import torch", "pickle.load", "Unpickler("):
        assert word not in source


@foreign.needs_torch
def test_the_fixtures_are_what_torch_writes_and_torch_takes_ours_strictly(tmp_path):
    script = pathlib.Path(__file__).with_name("torch_files.py")
    subprocess.run([foreign.TORCH, "-W", "ignore", script, "make", tmp_path], check=True, timeout=280)
    for name in ("values.pt", "values.bin", "module.pth", "module.th"):
        assert_holds(tmp_path / name, tmp_path / f"{name.split('.')[0]}.npz")
    with np.load(tmp_path / "module.npz") as arrays:
        containers.write(tmp_path / "module.pth", dict(arrays))
    subprocess.run([foreign.TORCH, script, "check", tmp_path / "module"], check=True, timeout=280)


@foreign.needs_torch
def test_torchvision_takes_our_pth_strictly_and_gives_our_logits(tmp_path):
    _, logits = foreign.fixture("tiny_torchvision")
    model = foreign.ours(weights=FIXTURES / "tiny_torchvision.pth")
    kd.save_weights(model, tmp_path / "tiny_torchvision.back.pth", "torchvision")
    foreign.run_torch("check", tmp_path, "tiny_torchvision")
    with np.load(tmp_path / "tiny_torchvision.back.npz") as back:
        np.testing.assert_allclose(back["logits40"], logits, rtol=0, atol=1e-5)
