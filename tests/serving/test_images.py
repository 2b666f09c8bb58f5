import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_densenet.data import Framing, read_images
from keras_densenet.serving.images import decode_images
from tests.serving.files import bomb, encode, mutated

SIZE = (20, 24)


@pytest.fixture(scope="module", params=[3, 1], ids=["RGB", "grey"])
def decode(request):
    return decoder(Framing(SIZE, request.param)), request.param


def decoder(framing):
    """A function from files to `decode_images`' images as they are, ok, error."""
    shape = (*framing.size, framing.channels)
    run = tf.function(
        lambda files: decode_images(files, framing, tf.identity, shape, 10_000_000),
        [tf.TensorSpec([None], tf.string)],
    )
    return lambda files: [part.numpy() for part in run(tf.constant(list(files), tf.string))]


def _picture():
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (5, 6, 3)).astype("uint8"))
    return small.resize(SIZE[::-1], Image.Resampling.BILINEAR)


def _by_pillow(data, channels):
    return read_images([data], (*SIZE, channels))[0]


def test_every_orientation_is_turned_upright_as_pillow_does(decode):
    run, channels = decode
    files = []
    for orientation, kind, endian in itertools.product(range(10), ("JPEG", "PNG"), "<>"):
        exif = Image.Exif()
        exif.endian = endian
        exif[0x010E], exif[0x0112] = "a description", orientation
        files.append(encode(_picture(), kind, exif=exif))
    images, ok, error = run(files)
    assert ok.all(), error
    expected = [_by_pillow(data, channels) for data in files]
    np.testing.assert_allclose(images, expected, atol=2)  # a level in each pass where the resized is a tie
    assert len({image.tobytes() for image in images[::4]}) == 8


def test_grey_palette_alpha_cmyk_progressive_and_16_bit_files_are_read(decode):
    run, channels = decode
    picture = _picture()
    files = [encode(picture.convert(mode), "PNG") for mode in ("L", "LA", "RGBA", "P", "1", "RGB")]
    files += [encode(picture.convert("L"), "JPEG"), encode(picture, "JPEG", progressive=True)]
    deep = np.asarray(picture.convert("L"), "uint16") * 257
    files += [encode(Image.fromarray(deep), "PNG"), encode(picture.convert("CMYK"), "JPEG")]
    images, ok, error = run(files)
    assert ok.all(), error
    expected = [_by_pillow(data, channels) for data in files]
    np.testing.assert_array_equal(images[:-1], expected[:-1])
    np.testing.assert_allclose(images[-1], expected[-1], atol=1)  # TensorFlow converts CMYK without rounding


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    size=st.sampled_from([(16, 16), (24, 10), (130, 140)]),
    channels=st.sampled_from([1, 3]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    crop_pct=st.sampled_from([None, 1.0, 0.7]),
    kind=st.sampled_from(["JPEG", "PNG"]),
    orientation=st.sampled_from([1, 6]),
)
def test_files_of_any_shape_become_the_pixels_that_training_and_predictions_see(
    height, width, size, channels, interpolation, crop_pct, kind, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = encode(_smooth(height, width), kind, exif=exif)
    framing = Framing(size, channels, crop_pct, interpolation)
    images, ok, error = decoder(framing)([file])
    assert ok.all(), error
    difference = np.abs(images - read_images([file], framing))
    assert difference.max() <= 2
    assert difference.mean() < 0.3


def _smooth(height, width):
    small = np.random.default_rng(height).integers(0, 256, (5, 6, 3)).astype("uint8")
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def test_a_broken_exif_segment_costs_the_orientation_only(decode):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(_picture(), "JPEG", exif=exif)
    start = data.index(b"Exif\0\0") + 6
    broken = [data[:start] + bytes([byte]) * 10 + data[start + 10 :] for byte in (0, 127, 255)]
    _, ok, error = decode[0](broken)
    assert ok.all(), error


def test_each_bad_file_is_told_and_leaves_zeros(decode):
    whole = encode(_picture())
    huge = encode(np.zeros((4000, 3000), "uint8"), "JPEG")
    animated = encode(_picture(), "GIF", save_all=True, append_images=[Image.new("RGB", SIZE)])
    moving = encode(_picture(), "PNG", save_all=True, append_images=[Image.new("RGB", SIZE)])
    images, ok, error = decode[0](
        [whole, b"", b"text", animated, huge, bomb(), whole[:50], whole[:20], bomb(2**32 - 1), moving]
    )
    assert ok.tolist() == [True] + [False] * 9
    assert [message.decode() for message in error] == [
        "",
        *["neither JPEG nor PNG"] * 3,
        "3000x4000 pixels are more than 10,000,000",
        "60000x60000 pixels are more than 10,000,000",
        *["cannot be decoded"] * 3,
        "animated",
    ]
    assert images[0].any()
    assert not images[1:].any()


def test_mutated_files_harm_neither_the_process_nor_their_neighbours(decode):
    run, channels = decode
    good = encode(_picture())
    expected = _by_pillow(good, channels)
    for batch in _batches(mutated(96), 8):
        images, ok, _ = run([good, *batch, good])
        assert ok[[0, -1]].all()
        np.testing.assert_array_equal(images[[0, -1]], [expected] * 2)
        assert not images[~ok].any()


def _batches(items, size):
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_a_batch_without_images_is_empty(decode):
    images, ok, error = decode[0]([])
    assert images.shape[0] == ok.size == error.size == 0
