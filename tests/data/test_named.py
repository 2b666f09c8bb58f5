import gzip
import shutil

import numpy as np
import pytest

from keras_densenet import data
from keras_densenet.data import named
from keras_densenet.data.named import DEBIAN, load_fashion_mnist, load_named

tfds = pytest.importorskip("tensorflow_datasets")


def _write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype("uint8").tobytes(), mtime=0))


@pytest.fixture(scope="module")
def idx(tmp_path_factory):
    """The digits as IDX files of 28x28 pixels."""
    folder, digits = tmp_path_factory.mktemp("idx"), data.load("digits", image_size=28)
    for prefix, split in {"train": digits.train, "t10k": digits.test}.items():
        _write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", split.images[:200, ..., 0])
        _write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", split.labels[:200])
    return folder, digits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return tmp_path_factory.mktemp("tfds")


def test_idx_files_are_read_and_kept_in_memory(idx, prepared):
    folder, digits = idx
    splits = load_fashion_mnist(folder, prepared)
    assert [len(split.labels) for split in splits[:3]] == [181, 19, 200]  # a tenth of every class, rounded
    assert splits.labels[9] == "Ankle boot"
    pairs = {(image.tobytes(), int(y)) for image, y in zip(splits.test.images, splits.test.labels, strict=True)}
    assert pairs == {
        (image.tobytes(), int(y)) for image, y in zip(digits.test.images[:200], digits.test.labels, strict=False)
    }


def test_other_files_are_another_data_set_and_bad_labels_are_named(idx, prepared, tmp_path):
    folder, digits = idx
    shutil.copytree(folder, tmp_path / "idx")
    labels = digits.train.labels[:200].copy()
    labels[:2] = 10, 11
    _write_idx(tmp_path / "idx" / "train-labels-idx1-ubyte.gz", labels)
    with pytest.raises(ValueError, match=r"2 labels out of range 0\.\.9: -1 of train image"):
        load_fashion_mnist(tmp_path / "idx", prepared)
    splits = load_fashion_mnist(tmp_path / "idx", prepared, skip_bad=True, validation=0)
    assert len(splits.train.labels) == 198
    assert splits.validation is splits.test


def test_a_broken_or_missing_idx_file_is_named_and_nothing_is_kept(idx, tmp_path):
    shutil.copytree(idx[0], tmp_path / "idx")
    file = tmp_path / "idx" / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz' is not a whole IDX file"):
        load_fashion_mnist(tmp_path / "idx", tmp_path / "tfds")
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"There is no file t10k-images-idx3-ubyte\.gz"):
        load_fashion_mnist(tmp_path / "idx", tmp_path / "tfds")


@pytest.mark.parametrize("limit", [1000, 2**30])
def test_records_with_random_access_are_the_same_and_stay_on_disk_if_large(idx, prepared, tmp_path, monkeypatch, limit):
    from keras_densenet.data.idx import FashionMnistIdx, IdxFolder

    FashionMnistIdx(data_dir=tmp_path, config=IdxFolder(folder=idx[0])).download_and_prepare(file_format="array_record")
    monkeypatch.setattr("keras_densenet.data.images.IN_MEMORY", limit)
    monkeypatch.setattr(named, "IN_MEMORY", limit)
    ours, theirs = (load_fashion_mnist(idx[0], folder).test for folder in (prepared, tmp_path))
    assert isinstance(theirs.images, np.ndarray if limit > 1000 else data.Pictures)
    first, second = (sorted(zip(map(bytes, split.images[:]), split.labels, strict=True)) for split in (ours, theirs))
    assert first == second


def test_any_name_of_image_classification_loads_with_size_and_channels():
    with tfds.testing.mock_data(num_examples=60):
        splits = load_named("cifar10", skip_bad=True, size=(16, 16), channels=1)
    assert len(splits.labels) > 5  # the made-up labels of 60 images
    assert splits.train.images[:2].shape == (2, 16, 16, 1)
    with tfds.testing.mock_data(num_examples=60):  # of many sizes
        photos = load_named("oxford_flowers102", skip_bad=True).train.images
    assert isinstance(photos, data.Pictures)
    assert photos[:2].shape == (2, 224, 224, 3)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cifarr10", "is neither a folder nor a data set of TensorFlow Datasets. Did you mean cifar10"),
        ("imdb_reviews", "'imdb_reviews' is not image classification"),
    ],
)
def test_a_name_that_cannot_be_loaded_is_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.load(name)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_debians_files_are_whole():
    from keras_densenet.data.idx import idx_files, read_idx

    images, labels = (read_idx(path) for path in idx_files(DEBIAN, "train"))
    assert images.shape == (60000, 28, 28)
    assert np.bincount(labels).tolist() == [6000] * 10
