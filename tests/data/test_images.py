import numpy as np
import pytest
from PIL import Image

from keras_densenet.data import read_images


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_image_is_resized_and_given_the_channels_of_the_network(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_images([tmp_path / "a.png"], (16, 24, channels))
    assert found.shape == (1, 16, 24, channels)
    assert found.dtype == np.float32
    assert 0 <= found.min() < found.max() <= 255


def test_pixels_come_through_unchanged_where_nothing_is_to_do(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_images([tmp_path / "a.png"], (None, None, 3))[0], pixels)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.png' cannot be decoded as an image"):
        read_images([tmp_path / "bad.png"], (16, 16, 3))


def test_a_truncated_jpeg_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.jpg' cannot be decoded"):
        read_images([tmp_path / "a.jpg"], (16, 16, 3))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no image .*none\.png"):
        read_images([tmp_path / "none.png"], (16, 16, 3))
