"""A file that is damaged, hostile or of another network is told apart, and the model stays as it was."""

import re

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_densenet as kd
from tests.weights import foreign

GOOD = foreign.FIXTURES / "tiny_torchvision.safetensors"


@pytest.fixture(scope="module")
def model():
    return foreign.ours()


@pytest.fixture(scope="module")
def keras_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "good.h5"
    kd.save_weights(model, path, "keras")
    return path


def refused(model, path, sentence):
    """Asserts that loading ends in one sentence and changes nothing."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=sentence) as error:
        kd.load_weights(model, path)
    foreign.one_sentence(error, path)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("ending", [".safetensors", ".h5", ".weights.h5", ".keras", ".pth", ".csv", ""])
@pytest.mark.parametrize("content", [b"", b"epoch,loss\n" * 100], ids=["empty", "text"])
def test_file_of_no_format_is_named(model, tmp_path, ending, content):
    path = tmp_path / f"bad{ending}"
    path.write_bytes(content)
    refused(model, path, "is not a complete file of weights")


@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_truncated_files_are_named(model, keras_file, tmp_path, share):
    for good in (GOOD, keras_file, GOOD.with_suffix(".pth")):
        path = tmp_path / good.name
        content = good.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        refused(model, path, "is not a complete file of weights")


def _nan(tensors):
    tensors["features.norm5.bias"][2] = np.nan


def _negative(tensors):
    tensors["features.transition1.norm.running_var"][0] = -1


def _integers(tensors):
    tensors["classifier.bias"] = np.arange(5)


def _missing(tensors):
    del tensors["features.denseblock1.denselayer2.norm1.running_mean"]


def _extra(tensors):
    tensors["features.denseblock1.denselayer3.conv1.weight"] = np.zeros((16, 16, 1, 1), "float32")


def _shape(tensors):
    tensors["features.conv0.weight"] = np.zeros((8, 3, 3, 3), "float32")


def _renamed(tensors):
    for name in list(tensors):
        tensors[name.replace("features.conv0", "features.0")] = tensors.pop(name)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_nan, r"features\.norm5\.bias in .* holds values that are not finite"),
        (_negative, r"features\.transition1\.norm\.running_var in .* negative variance"),
        (_integers, r"classifier\.bias in .* must hold floating-point numbers, not quantised ones\. Received: int64"),
        (_missing, r"needs features\.denseblock1\.denselayer2\.norm1\.running_mean .*Received: no such tensor"),
        (_extra, r"has no features\.denseblock1\.denselayer3\.conv1\.weight"),
        (_shape, r"needs features\.conv0\.weight of shape \(8, 3, 7, 7\)\. Received: \(8, 3, 3, 3\)"),
        (_renamed, "holds no DenseNet in a layout that is known here"),
    ],
)
def test_damaged_tensors_are_named(model, tmp_path, damage, sentence):
    tensors = load_file(GOOD)
    damage(tensors)
    save_file(tensors, tmp_path / "bad.safetensors")
    refused(model, tmp_path / "bad.safetensors", sentence)


def test_tensor_in_the_place_of_another_of_its_shape_is_named(model, keras_file, tmp_path):
    """Keras itself goes by the order in which such a file lists its tensors, and would not notice."""
    path = tmp_path / "swapped.h5"
    path.write_bytes(keras_file.read_bytes())
    one, other = (f"conv{b}_block1_1_conv" for b in (2, 3))
    with h5py.File(path, "a") as file:
        assert file[f"{one}/{one}/kernel:0"].shape == file[f"{other}/{other}/kernel:0"].shape
        file.move(f"{one}/{one}", f"{one}/{other}")
    refused(model, path, f"needs {one}/kernel")


def _external_link(file, folder):
    file["bn/bn/gamma:0"] = h5py.ExternalLink(folder / "other.h5", "x")


def _soft_link(file, folder):
    file["bn/bn/gamma:0"] = h5py.SoftLink("/bn/bn/beta:0")


def _external_data(file, folder):
    file["bn"].create_dataset("bn/gamma:0", (12,), "float32", external=[(folder / "raw", 0, 48)])


def _virtual_data(file, folder):
    layout = h5py.VirtualLayout((12,), "float32")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", (12,))
    file["bn"].create_virtual_dataset("bn/gamma:0", layout)


@pytest.mark.parametrize("attack", [_external_link, _soft_link, _external_data, _virtual_data])
def test_hdf5_that_reaches_elsewhere_is_refused(model, keras_file, tmp_path, attack):
    path = tmp_path / "attack.h5"
    path.write_bytes(keras_file.read_bytes())
    (tmp_path / "raw").write_bytes(np.ones(12, "float32").tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.ones(12, "float32")
    with h5py.File(path, "a") as file:
        del file["bn/bn/gamma:0"]
        attack(file, tmp_path)
    refused(model, path, "bn/bn/gamma:0 (is a link|lies in another file)")


def test_shape_of_hundreds_of_gigabytes_is_refused_before_it_is_read(model, keras_file, tmp_path):
    path = tmp_path / "bomb.h5"
    path.write_bytes(keras_file.read_bytes())
    with h5py.File(path, "a") as file:
        del file["bn/bn/gamma:0"]
        file.create_dataset("bn/bn/gamma:0", (10**11,), "float32", chunks=(1024,), compression="gzip")
    refused(model, path, r"needs bn/gamma of shape \(12,\)\. Received: \(100000000000,\)")


def test_a_folder_of_something_else_is_refused(model, tmp_path):
    with pytest.raises(
        ValueError,
        match=rf"or the folder of a run or of a keras-hub preset\. Received: {re.escape(repr(str(tmp_path)))}",
    ):
        kd.load_weights(model, tmp_path)
