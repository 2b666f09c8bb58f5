import numpy as np
import pytest
from PIL import Image

from keras_densenet.data import Framing, Pictures, read_images
from tests.data.pictures import picture


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


def test_another_shape_is_cut_out_of_the_centre(tmp_path):
    pixels = np.zeros((8, 20, 3), "uint8")
    pixels[:, 6:14] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_images([tmp_path / "wide.png"], (8, 8, 3)) == 200).all()


def test_photos_lose_their_rim_as_in_imagenets_evaluation(tmp_path):
    pixels = np.zeros((256, 256, 3), "uint8")
    pixels[16:-16, 16:-16] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_images([tmp_path / "a.png"], (224, 224, 3)) == 200).all()
    assert (read_images([tmp_path / "a.png"], Framing((224, 224), 3, crop_pct=1))[0, 0, 0] == 0).all()


def test_a_large_jpeg_decodes_to_what_its_pixels_would(tmp_path):
    photo = Image.fromarray(picture(height=1200, width=1601))
    photo.save(tmp_path / "a.jpg", quality=95)
    photo.save(tmp_path / "a.png")
    jpeg, png = read_images([tmp_path / "a.jpg", tmp_path / "a.png"], (64, 64, 3))
    assert np.abs(jpeg - png).max() < 4


def test_a_palette_with_transparency_is_read_without_complaint(tmp_path):
    image = Image.fromarray(picture()).quantize(8)
    image.save(tmp_path / "a.png", transparency=bytes(range(8)))
    assert read_images([tmp_path / "a.png"], (20, 24, 3)).shape == (1, 20, 24, 3)


def test_pictures_are_an_array_that_is_decoded_when_asked_for(tmp_path):
    arrays = np.stack([picture(seed) for seed in range(5)])
    for seed, pixels in enumerate(arrays):
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    pictures = Pictures(np.array([str(tmp_path / f"{seed}.png") for seed in range(5)], object), Framing((20, 24), 3))
    assert pictures.shape == arrays.shape
    assert pictures.dtype == arrays.dtype
    assert len(pictures) == 5
    for which in (2, slice(1, 3), [4, 0], np.array([], int)):
        np.testing.assert_array_equal(pictures[which], arrays[which])
    np.testing.assert_array_equal(pictures.only(np.array([3, 1]))[:], arrays[[3, 1]])
    np.testing.assert_array_equal(pictures.settled(), arrays)


def test_only_exif_turns_an_image(tmp_path):
    """What XMP says is read by few programs, and not by a server."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    Image.fromarray(picture()).save(tmp_path / "a.jpg", xmp=xmp)
    assert read_images([tmp_path / "a.jpg"], (None, None, 3)).shape == (1, 20, 24, 3)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(300, 200), (90, 400), (50, 40)])
def test_cut_and_filter_are_those_of_the_published_recipes(shape, interpolation):
    """torchvision's `Resize(48)` and `CenterCrop(40)`; each of two passes may round to a neighbouring level."""
    image = Image.fromarray(picture(3, *shape))
    factor = 48 / min(shape)
    new = [max(48, int(side * factor + 1e-9)) for side in image.size]
    left, top = (round((side - 40) / 2) for side in new)
    filtered = Image.Resampling[interpolation.upper()]
    expected = np.asarray(image.resize(new, filtered).crop((left, top, left + 40, top + 40)), "float32")
    found = read_images([np.asarray(image)], Framing((40, 40), 3, 40 / 48, interpolation))[0]
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - expected).mean() < 0.1
