"""Signals and volumes from NumPy's files and NIfTI: what a file is, what is cut out of it, and how it is varied."""

import gzip
import itertools

import hypothesis
import hypothesis.extra.numpy
import nibabel
import numpy as np
import pytest
from hypothesis import strategies
from PIL import Image

from keras_densenet import data, ops
from keras_densenet.data import Augmentation, Framing, Split, check, mean_and_std, read_images, training_stream
from keras_densenet.data.pipeline import evaluation_batches
from keras_densenet.layers import Preprocess
from tests.data.pictures import picture
from tests.data.test_table import write_table


def _volume(seed=0, shape=(6, 7, 8), dtype="float32"):
    return (np.random.default_rng(seed).normal(100, 50, shape)).astype(dtype)


def _nifti(path, array, affine=None, slope=None, kind=nibabel.Nifti1Image):
    image = kind(array, np.eye(4) if affine is None else affine)
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, path)
    return path


WRITERS = {
    ".npy": np.save,
    ".npz": lambda path, array: np.savez_compressed(path, scan=array),
    ".nii": lambda path, array: _nifti(path, array),
    ".nii.gz": lambda path, array: _nifti(path, array),
}


def _classes(folder, suffix, shape=(6, 7, 8), count=12, **options):
    """A folder of two classes of arrays."""
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[suffix](path, _volume(number, shape, **options))
    return folder


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("shape", [(6, 7, 8), (6, 7, 8, 2)])
def test_a_volume_is_what_was_written_whatever_it_is_called(tmp_path, suffix, shape):
    WRITERS[suffix](path := tmp_path / f"a{suffix}", _volume(shape=shape))
    renamed = tmp_path / "renamed"
    renamed.write_bytes(path.read_bytes())
    whole = _volume(shape=shape).reshape(*shape[:3], -1)
    for file in (path, path.read_bytes(), renamed):
        found = read_images([file], Framing(None, whole.shape[-1], dimensions=3))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[0], whole)
    assert data.list_images(tmp_path)[0] == [path, renamed]
    look = check.look_at(path)
    assert look.good
    assert look.size(3) == shape[:3]
    assert look.may_have(3)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("shape", [(50,), (50, 2)])
def test_a_signal_is_what_was_written(tmp_path, suffix, shape):
    WRITERS[suffix](path := tmp_path / f"a{suffix}", _volume(shape=shape))
    np.testing.assert_array_equal(read_images([path], (50, len(shape)))[0], _volume(shape=shape).reshape(50, -1))


@hypothesis.given(strategies.permutations(range(3)), strategies.tuples(*[strategies.sampled_from([-1, 1])] * 3))
@hypothesis.settings(max_examples=10, deadline=None)
def test_nifti_is_turned_to_the_right_to_the_front_and_up_and_scaled(tmp_path_factory, order, signs):
    affine = np.zeros((4, 4))
    affine[list(order), range(3)], affine[3, 3] = np.array(signs) * (1.0, 2.0, 3.0), 1
    stored = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype("int16")
    path = _nifti(tmp_path_factory.mktemp("nifti") / "a.nii.gz", stored, affine, (0.5, -7))
    upright = nibabel.as_closest_canonical(nibabel.load(path))
    found = read_images([path], Framing(None, 1, dimensions=3))[0, ..., 0]
    np.testing.assert_allclose(found, upright.get_fdata(), rtol=1e-6)
    assert check.look_at(path).size(3) == found.shape == upright.shape


def test_nifti_2_big_endian_and_channels_behind_one_moment(tmp_path):
    array = _volume(shape=(4, 5, 6, 1, 3))
    found = read_images([_nifti(tmp_path / "a.nii", array, kind=nibabel.Nifti2Image)], (4, 5, 6, 3))
    np.testing.assert_array_equal(found[0], array[:, :, :, 0])
    image = nibabel.Nifti1Image(array[..., 0, 0], np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(image, tmp_path / "b.nii")
    np.testing.assert_array_equal(read_images([tmp_path / "b.nii"], (4, 5, 6, 1))[0, ..., 0], array[..., 0, 0])


def test_broken_files_are_named_in_a_check_and_where_they_are_read(tmp_path):
    folder = _classes(tmp_path / "scans", ".nii.gz")
    whole = (folder / "a" / "0.nii.gz").read_bytes()
    plain = gzip.decompress(whole)
    (folder / "a" / "short.nii.gz").write_bytes(whole[:-20])
    (folder / "a" / "short.nii").write_bytes(plain[:-20])
    (folder / "a" / "flipped.nii.gz").write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    (folder / "a" / "head.nii").write_bytes(plain[:100])
    (folder / "a" / "none.npz").write_bytes(b"no archive")
    np.savez(folder / "b" / "several.npz", x=np.zeros((2, 2, 2)), y=np.zeros(3))
    np.save(folder / "b" / "nan.npy", np.full((6, 7, 8, 1), np.nan))
    np.save(folder / "b" / "flat.npy", np.zeros((6, 7)))
    np.save(folder / "b" / "empty.npy", np.zeros((6, 0, 8, 1)))
    Image.fromarray(picture()).save(folder / "b" / "photo.png")
    with pytest.raises(ValueError, match="has bad data") as error:
        data.load(folder)
    assert "5 truncated or damaged: a/flipped.nii.gz, a/head.nii, a/none.npz and 2 more" in str(error.value)
    assert "1 .npz of several arrays, or of none: b/several.npz" in str(error.value)
    assert "1 an array of what are no real numbers, or of NaN or infinity: b/nan.npy" in str(error.value)
    assert "3 an array neither (depth, height, width) nor (depth, height, width, channels): " in str(error.value)
    assert "b/flat.npy of 6x7" in str(error.value)
    assert "b/photo.png of 20x24x3" in str(error.value)
    splits = data.load(folder, skip_bad=True)
    assert splits.train.images.shape[1:] == (6, 7, 8, 1)
    assert sum(len(part.labels) for part in splits[:3]) == 12
    for name in ("a/short.nii.gz", "a/short.nii", "a/flipped.nii.gz", "a/head.nii", "a/none.npz", "b/several.npz",
                 "b/nan.npy", "b/flat.npy", "b/photo.png"):  # fmt: skip
        with pytest.raises(ValueError, match=rf"{name}' cannot be decoded as a volume: "):
            read_images([folder / name], (6, 7, 8, 1))
    with pytest.raises(ValueError, match=r"cannot be decoded as an image: it is an array neither .height, width. nor"):
        read_images([folder / "a" / "0.nii.gz"], (6, 7, 1))


def test_a_header_is_enough_to_know_a_shape(tmp_path, monkeypatch):
    """No values become an array, however large the file is."""
    paths = []
    for suffix, write in WRITERS.items():
        write(tmp_path / f"a{suffix}", _volume())
        paths.append(tmp_path / f"a{suffix}")
    for module, name in ((np.lib.format, "read_array"), (nibabel.arrayproxy.ArrayProxy, "__array__")):
        monkeypatch.setattr(module, name, None)
    for path in paths:
        assert check.look_at(path).size(3) == (6, 7, 8)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_folder_of_volumes_is_a_data_set(tmp_path, suffix):
    folder = _classes(tmp_path / "scans", suffix)
    splits = data.load(folder, dimensions=3)
    assert splits.framing == Framing((6, 7, 8), 1)
    assert isinstance(splits.train.images, np.ndarray)
    found = np.concatenate([part.images for part in splits[:3]])
    expected = np.stack([_volume(number)[..., None] for number in range(12)])
    np.testing.assert_array_equal(np.sort(found.sum((1, 2, 3, 4))), np.sort(expected.sum((1, 2, 3, 4))))
    mean, std = mean_and_std(splits.train)
    np.testing.assert_allclose((*mean, *std), (splits.train.images.mean(), splits.train.images.std()), rtol=1e-5)
    rows = [("path", "x"), *((f"{'ab'[n % 2]}/{n}{suffix}", n % 2) for n in range(12))]
    table = data.load(write_table(tmp_path / "t.csv", rows), images=folder, image_size=(6, 7, 8))
    assert table.train.images.shape[1:] == (6, 7, 8, 1)


def test_what_arrays_are_is_asked_where_they_do_not_tell(tmp_path):
    cubes, signals = _classes(tmp_path / "cubes", ".npy", (20, 20, 20)), _classes(tmp_path / "ecg", ".npy", (96, 12))
    with pytest.raises(ValueError, match=r"may be volumes, or images .*a/0.npy of 20x20x20: say .* --dimensions 3 or"):
        data.load(cubes)
    with pytest.raises(ValueError, match=r"may be signals, or images, .*a/0.npy of 96x12: say .* --dimensions 1 or"):
        data.load(signals)
    assert data.load(cubes, dimensions=2).train.images.shape[1:] == (20, 20, 20)
    assert data.load(cubes, image_size=(10, 20, 20)).train.images.shape[1:] == (10, 20, 20, 1)
    assert data.load(cubes, image_size=10, dimensions=3).train.images.shape[1:] == (10, 10, 10, 1)
    assert data.load(signals, dimensions=1).train.images.shape[1:] == (96, 12)
    assert data.load(signals, image_size=(48,)).train.images.shape[1:] == (48, 12)
    np.save(cubes / "a" / "tells.npy", _volume(shape=(20, 20, 20, 1)))  # one that tells is enough
    assert data.load(cubes).train.images.shape[1:] == (20, 20, 20, 1)
    assert data.load(_classes(tmp_path / "one", ".npy", (96,))).train.images.shape[1:] == (96, 1)


@pytest.mark.parametrize("wrong", [{"dimensions": 4}, {"dimensions": 2, "image_size": (2, 2, 2)}, {"image_size": (0,)}])
def test_sizes_that_cannot_be_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="Received: "):
        data.load(_classes(tmp_path, ".npy"), **wrong)


def test_volumes_of_several_sizes_need_one(tmp_path):
    folder = _classes(tmp_path / "scans", ".nii.gz")
    _nifti(folder / "a" / "large.nii.gz", _volume(99, (12, 14, 16)))
    with pytest.raises(ValueError, match=r"volumes of 2 sizes, from 6x7x8 to 12x14x16: give .*--image-size 6x7x8"):
        data.load(folder)
    splits = data.load(folder, image_size=(6, 7, 8))
    assert isinstance(splits.train.images, data.Pictures)
    assert splits.train.images[:2].shape == (2, 6, 7, 8, 1)
    with pytest.raises(ValueError, match=r"signals and volumes come from a folder or a table. Received: 'digits'"):
        data.load("digits", image_size=(8, 8, 8))


def test_a_volume_of_another_size_is_resized_along_each_axis(tmp_path):
    ramp = np.arange(12.0)[:, None, None, None] + np.zeros((12, 5, 4, 1))
    np.save(tmp_path / "a.npy", ramp)
    found = read_images([tmp_path / "a.npy"], Framing((6, 10, 4), 1))[0]
    np.testing.assert_allclose(found[1:-1], (2 * np.arange(1, 5) + 0.5)[:, None, None, None] + np.zeros((4, 10, 4, 1)))
    half = read_images([tmp_path / "a.npy"], Framing((6, 5, 4), 1, crop_pct=0.5))[0]
    np.testing.assert_array_equal(half[:, 0, 0, 0], np.arange(3, 9))


@hypothesis.given(
    hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=4, max_side=9).filter(lambda shape: len(shape) != 3),
    strategies.data(),
)
@hypothesis.settings(max_examples=30, deadline=None)
def test_without_interpolation_the_centre_is_cut_or_zeros_are_added(shape, drawn):
    size = drawn.draw(strategies.tuples(*[strategies.integers(1, 12)] * (len(shape) - 1)))
    array = np.random.default_rng(0).normal(1, 1, shape).astype("float32")
    (found,) = data.images.as_pictures(array[None], Framing(size, shape[-1], interpolation="none"))[:]
    whole = array
    for axis, (length, side) in enumerate(zip(shape, size, strict=False)):
        before = (side - length) // 2 if side > length else 0
        start = (length - side) // 2 if length > side else 0
        before = -((length - side) // 2) if side > length else before
        whole = np.take(whole, range(start, min(length, start + side)), axis)
        pad = [(0, 0)] * whole.ndim
        pad[axis] = before, side - before - whole.shape[axis]
        whole = np.pad(whole, pad)
    np.testing.assert_array_equal(found, whole)


def test_interpolating_nothing_is_for_signals_and_volumes():
    with pytest.raises(ValueError, match=r"is for signals and volumes. Received: size=\(8, 8\)"):
        Framing((8, 8), 1, interpolation="none")


def _cube(side=5, count=16):
    """Volumes with one light voxel each, at the same place."""
    volumes = np.zeros((count, side, side, side, 1), "float32")
    volumes[:, 1, 2, 3, 0] = np.arange(1, count + 1)
    return Split(volumes, np.arange(count, dtype="int32"))


def _batches(split, count, **options):
    stream, _ = training_stream(split, 8, seed=5, **options)
    return [(x.numpy(), y.numpy()) for x, y in itertools.islice(iter(stream), count)]


def test_volumes_are_moved_and_mirrored_and_keep_their_label():
    places = set()
    for x, y in _batches(_cube(9), 60, augmentation=Augmentation("shift")):
        for volume, label in zip(x[..., 0], y, strict=True):
            places.update(map(tuple, np.argwhere(volume == label + 1)))
            assert np.isin(volume, (0, label + 1)).all()
    assert np.min(list(places), 0).tolist() == [0, 0, 0]
    assert np.max(list(places), 0).tolist() == [5, 6, 7]
    places = set()
    for x, _ in _batches(_cube(), 20, augmentation=Augmentation(flips=(0, 2))):
        places.update(tuple(place[1:4]) for place in np.argwhere(x))
    assert places == set(itertools.product((1, 3), (2,), (3, 1)))


@pytest.mark.parametrize("interpolation", ["bilinear", "none"])
def test_random_crops_are_of_the_size_and_lie_in_the_volume(interpolation):
    split = Split(np.random.default_rng(0).uniform(1, 2, (16, 12, 10, 8, 1)).astype("float32"), np.zeros(16, "int32"))
    framing = Framing((6, 5, 4), 1, interpolation=interpolation)
    split = split._replace(images=data.images.as_pictures(split.images, framing))
    found = np.concatenate([x for x, _ in _batches(split, 4, augmentation=Augmentation("imagenet"))])
    assert found.shape == (32, 6, 5, 4, 1)
    assert found.min() >= 1  # no zeros came in
    assert len({volume.tobytes() for volume in found}) == 32
    assert np.isin(found, split.images.read(slice(None))).all() == (interpolation == "none")


def test_intensity_is_one_factor_and_one_offset_of_a_volume():
    split = Split(np.stack([_volume(seed)[..., None] for seed in range(16)]), np.arange(16, dtype="int32"))
    varied = _batches(split, 4, augmentation=Augmentation(intensity=0.2))
    factors = []
    for x, y in varied:
        for volume, label in zip(x, y, strict=True):
            factor, offset = np.polyfit(split.images[label].ravel(), volume.ravel(), 1)
            np.testing.assert_allclose(volume, split.images[label] * factor + offset, rtol=1e-3, atol=1e-2)
            assert 0.8 <= factor <= 1.2
            assert abs(offset) <= 0.21 * split.images[label].std()
            factors.append(factor)
    assert np.std(factors) > 0.05
    again = _batches(split, 2, augmentation=Augmentation(intensity=0.2), first_epoch=1)
    np.testing.assert_array_equal(again[1][0], varied[3][0])


@pytest.mark.parametrize("option", [{"mixup": 0.1}, {"jitter": 0.4}, {"flips": (3,)}])
def test_what_is_for_images_is_refused(option):
    with pytest.raises(ValueError, match="Received: "):
        training_stream(_cube(), 8, seed=0, augmentation=Augmentation(**option))
    with pytest.raises(ValueError, match=r"flips must be axes in 0..0"):
        training_stream(Split(np.zeros((8, 5, 1)), np.zeros(8, "int32")), 8, 0, augmentation=Augmentation(flips=(1,)))


def test_evaluation_sees_every_volume_as_it_is():
    split = _cube()
    ((x, y, weights),) = [*evaluation_batches(split, 16)]
    np.testing.assert_array_equal(x, split.images)
    np.testing.assert_array_equal(y, split.labels)
    assert weights.numpy().tolist() == [1] * 16


def test_each_volume_by_its_own_mean_and_a_range_are_conventions():
    volumes = np.stack([_volume(seed, (4, 5, 6, 2)) * (seed + 1) for seed in range(3)])
    found = ops.normalise(volumes, "each").numpy()
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std((1, 2, 3)), 1, rtol=1e-5)
    assert (ops.normalise(np.full((1, 4, 4, 1), 7.0, "float32"), "each").numpy() == 0).all()
    ct = ops.normalise(np.array([-2000.0, -1000.0, -300.0, 400.0, 3000.0]), {"low": -1000, "high": 400})
    np.testing.assert_allclose(ct, [0, 0, 0.5, 1, 1])
    images = np.stack([picture(seed) for seed in range(2)])
    layer = Preprocess("each")
    np.testing.assert_allclose(layer(images)[1], layer(images[1]), atol=1e-6)
    assert Preprocess.from_config(layer.get_config()).mode == "each"
    np.testing.assert_allclose(layer(volumes), found, atol=1e-6)
    signals = Preprocess("each", dimensions=1)
    np.testing.assert_allclose(signals(volumes[0, 0])[1], signals(volumes[0, 0, 1]), atol=1e-6)
    assert Preprocess.from_config(signals.get_config()).dimensions == 1
    with pytest.raises(ValueError, match=r"3 .volumes.. Received: dimensions=4"):
        Preprocess("unit", dimensions=4)
    for wrong in ({"low": 1, "high": 0}, {"low": [0], "high": 1}, {"low": 0, "high": np.inf}):
        with pytest.raises(ValueError, match="Received: "):
            Preprocess(wrong)
