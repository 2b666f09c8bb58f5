"""Files of more than 8 bits a value, of any number of bands, and DICOM: the same pixels wherever they are read."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_densenet import data
from keras_densenet.data import Augmentation, Framing, Split, check, mean_and_std, read_images, training_stream
from tests.data.pictures import picture
from tests.data.test_table import write_table


def _deep(seed=0, height=20, width=24):
    """A smooth grey image of 16 bits."""
    return np.random.default_rng(seed).integers(0, 65536, (height, width)).astype("uint16")


def _grey(pixels):
    return Image.fromarray(pixels)


WRITERS = {
    "png": lambda path, pixels: _grey(pixels).save(path),
    "tiff": lambda path, pixels: _grey(pixels).save(path),
    "tif": lambda path, pixels: _grey(pixels.astype(">u2")).save(path, compression="tiff_lzw"),
    "npy": lambda path, pixels: np.save(path, pixels),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_16_bits_are_0_to_255_with_fractions(tmp_path, suffix):
    pixels = _deep()
    pixels[0, :2] = 0, 65535
    WRITERS[suffix](path := tmp_path / f"a.{suffix}", pixels)
    for file in (path, path.read_bytes()):
        found = read_images([file], (20, 24, 1))
        np.testing.assert_allclose(found[0, ..., 0], pixels / 257, rtol=1e-6)
    assert (found[0, 0, :2, 0] == (0, 255)).all()
    np.testing.assert_array_equal(read_images([path], (20, 24, 3))[0], np.repeat(found[0], 3, -1))
    np.testing.assert_array_equal(read_images([path], (None, None, 1)), found)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_deep_image_is_cut_and_filtered_as_its_8_bits_are(tmp_path, suffix):
    levels = picture(3, 40, 60)[..., 0]
    WRITERS[suffix](tmp_path / f"a.{suffix}", levels.astype("uint16") * 257)
    Image.fromarray(levels).save(tmp_path / "plain.png")
    framing = Framing((16, 16), 1, 0.9, "bicubic")
    deep, plain = (read_images([tmp_path / name], framing) for name in (f"a.{suffix}", "plain.png"))
    assert np.abs(deep - plain).max() <= 1.01  # 8 bits are rounded after each pass
    assert deep.dtype == np.float32
    assert np.any(deep != deep.round())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_colour_png_keeps_its_depth_and_is_turned_upright(tmp_path, channels, orientation):
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, channels)).astype("uint16")
    encoded, exif = tf.io.encode_png(pixels).numpy(), Image.Exif()
    exif[check.ORIENTATION] = orientation
    levels = Image.fromarray((pixels[..., 0] >> 8).astype("uint8"))
    levels.save(buffer := io.BytesIO(), "PNG", exif=exif)
    start = buffer.getvalue().index(b"eXIf") - 4
    chunk = buffer.getvalue()[start : start + 12 + int.from_bytes(buffer.getvalue()[start : start + 4], "big")]
    found = read_images([encoded[:33] + chunk + encoded[33:]], (None, None, channels))[0]
    turned = np.asarray(_upright(levels, orientation), "float32")
    assert np.abs(found[..., 0] - turned).max() <= 1
    np.testing.assert_allclose(np.sort(found, None), np.sort(pixels, None) / 257, rtol=1e-6)


def _upright(image, orientation):
    image.getexif()[check.ORIENTATION] = orientation
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _classes(folder, write, suffix, count=12):
    """A folder of two classes of files that `write(path, seed)` makes."""
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, number)
    return folder


def _same_pixels(splits, folder, suffix):
    """Whether every image of the splits is what `read_images` gives for one of the files."""
    files = sorted(folder.rglob(f"*{suffix}"))
    found = [image.astype("float32").tobytes() for part in splits[:3] for image in part.images[:]]
    assert set(found) == {image.tobytes() for image in read_images(files, splits.framing)}
    assert len(found) == len(files)


def test_a_folder_of_16_bit_images_is_float_in_memory_and_on_disk(tmp_path):
    folder = _classes(tmp_path / "photos", lambda path, seed: Image.fromarray(_deep(seed)).save(path), ".png")
    splits, small = data.load(folder), data.load(folder, image_size=8)
    assert splits.train.images.shape[1:] == (20, 24, 1)
    assert isinstance(splits.train.images, np.ndarray)
    assert isinstance(small.train.images, data.Pictures)
    assert splits.train.images.dtype == small.train.images.dtype == np.float32
    assert f"12 {check.DEPTH16}: a/0.png, a/10.png, a/2.png and 9 more" in "".join(splits.notes)
    _same_pixels(splits, folder, ".png")
    _same_pixels(small, folder, ".png")
    mean, _ = mean_and_std(small.train)
    np.testing.assert_allclose(mean, small.train.images[:].mean((0, 1, 2)), rtol=1e-5)
    for kind in ("none", "cifar", "imagenet"):
        stream, _ = training_stream(small.train, 4, 0, augmentation=Augmentation(kind))
        images, _ = next(iter(stream))
        assert np.any(images.numpy() != images.numpy().round())
    whole, lazy = (
        next(iter(training_stream(Split(images, small.train.labels), 4, 0, augmentation=Augmentation("imagenet"))[0]))
        for images in (small.train.images[:], small.train.images)
    )
    assert whole[0].shape == lazy[0].shape


@pytest.mark.parametrize(
    ("bands", "dtype", "expected"),
    [(5, "float32", "float32"), (2, "uint8", "float32"), (3, "uint8", "uint8"), (4, "int16", "float32")],
)
def test_arrays_have_any_number_of_bands_and_their_own_range(tmp_path, bands, dtype, expected):
    def array(seed):
        return (np.random.default_rng(seed).random((6, 8, bands)) * 200 - 90 * (dtype != "uint8")).astype(dtype)

    folder = _classes(tmp_path / "arrays", lambda path, seed: np.save(path, array(seed)), ".npy")
    splits = data.load(folder)
    assert splits.train.images.shape[1:] == (6, 8, bands)
    assert splits.framing.channels == bands
    assert splits.train.images.dtype == expected
    _same_pixels(splits, folder, ".npy")
    np.testing.assert_array_equal(read_images([folder / "a" / "0.npy"], splits.framing)[0], array(0).astype("float32"))
    assert data.load(folder, image_size=4, channels=bands).train.images[:2].shape == (2, 4, 4, bands)
    rows = [("path", "x"), *((f"{'ab'[n % 2]}/{n}.npy", n % 2) for n in range(12))]
    table = data.load(write_table(tmp_path / "t.csv", rows), images=folder)
    _same_pixels(table, folder, ".npy")


def test_a_mask_is_black_and_white_and_grey_arrays_have_two_axes(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(4, dtype=bool))
    np.testing.assert_array_equal(read_images([tmp_path / "a.npy"], (4, 4, 1))[0, ..., 0], 255 * np.eye(4))


@pytest.mark.parametrize(
    ("array", "finding"),
    [
        (np.zeros((2, 3, 4, 5)), "an array neither"),
        (np.zeros(7), "an array neither"),
        (np.array([[1.0, np.nan]]), "NaN or infinity"),
        (np.array([["a", "b"]]), "no real numbers"),
        (np.zeros((2, 2), "complex64"), "no real numbers"),
    ],
)
def test_an_array_that_is_no_image_is_named(tmp_path, array, finding):
    folder = _classes(tmp_path / "arrays", lambda path, seed: np.save(path, np.full((4, 4), seed)), ".npy")
    np.save(folder / "a" / "bad.npy", array)
    with pytest.raises(ValueError, match=rf"1 .*{finding}.*: a/bad\.npy"):
        data.load(folder)
    with pytest.raises(ValueError, match=rf"bad\.npy' cannot be decoded as an image: it is .*{finding}"):
        read_images([folder / "a" / "bad.npy"], (4, 4, 1))


def test_damaged_arrays_and_other_bands_are_named(tmp_path):
    folder = _classes(tmp_path / "arrays", lambda path, seed: np.save(path, np.full((4, 4, 5), seed)), ".npy")
    whole = (folder / "a" / "0.npy").read_bytes()
    (folder / "a" / "short.npy").write_bytes(whole[:-20])
    np.save(folder / "a" / "objects.npy", np.array([{}, None]), allow_pickle=True)
    with open(folder / "a" / "huge.npy", "wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**7, 10**7, 5)}
        np.lib.format.write_array_header_1_0(file, header)
    np.save(folder / "b" / "bands.npy", np.zeros((4, 4, 2)))
    with pytest.raises(ValueError, match="has bad data") as error:
        data.load(folder)
    assert "3 truncated or damaged: a/huge.npy, a/objects.npy, a/short.npy" in str(error.value)
    assert "1 of other than 5 channels: b/bands.npy has 2" in str(error.value)
    assert len(data.load(folder, skip_bad=True, validation=0).train.labels) == 10
    with pytest.raises(ValueError, match=r"bands\.npy' cannot be decoded as an image: it has 2 bands, not 5"):
        read_images([folder / "b" / "bands.npy"], (4, 4, 5))
    Image.fromarray(picture()).save(tmp_path / "photo.png")
    with pytest.raises(ValueError, match=r"photo\.png' cannot be .*: it can be read for 1, 3 or 4 channels, not 5"):
        read_images([tmp_path / "photo.png"], (4, 4, 5))


def test_deep_and_plain_images_of_one_set_have_one_range(tmp_path):
    folder = _classes(tmp_path / "photos", lambda path, seed: Image.fromarray(_deep(seed)).save(path), ".png")
    levels = Image.fromarray(picture(50)[..., 0])
    levels.save(folder / "a" / "plain.png")
    _same_pixels(data.load(folder), folder, ".png")
    np.save(tmp_path / "plain.npy", picture(50)[..., 0])
    np.testing.assert_array_equal(*(read_images([file], (20, 24, 1)) for file in (folder / "a" / "plain.png",
                                                                                  tmp_path / "plain.npy")))  # fmt: skip
