import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_densenet.serving.images import decode_images
from tests.serving.files import bomb, encode, mutated

SIZE = (20, 24)


@pytest.fixture(scope="module", params=[3, 1], ids=["RGB", "grey"])
def decode(request):
    def prepare(image):
        return tf.image.resize(image, SIZE, antialias=True)

    channels = request.param
    shape = (*SIZE, channels)
    run = tf.function(
        lambda files: decode_images(files, channels, prepare, shape, 100_000), [tf.TensorSpec([None], tf.string)]
    )
    return lambda files: [part.numpy() for part in run(tf.constant(list(files), tf.string))], channels


def _picture():
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (5, 6, 3)).astype("uint8"))
    return small.resize(SIZE[::-1], Image.Resampling.BILINEAR)


def _by_pillow(data, channels):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).resize(SIZE[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image.convert("RGB" if channels == 3 else "L"), "float32").reshape(*SIZE, channels)


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
    np.testing.assert_allclose(images, expected, atol=2.1)  # Pillow rounds after each of its steps
    assert len({image.tobytes() for image in images[::4]}) == 8


def test_grey_palette_alpha_cmyk_progressive_and_16_bit_files_are_read(decode):
    run, channels = decode
    picture = _picture()
    files = [encode(picture.convert(mode), "PNG") for mode in ("L", "LA", "RGBA", "P", "1", "RGB")]
    files += [encode(picture.convert("L"), "JPEG"), encode(picture, "JPEG", progressive=True)]
    files += [encode(picture.convert("CMYK"), "JPEG")] * (channels == 3)
    deep = np.asarray(picture.convert("L"), "uint16") * 257
    images, ok, error = run([*files, encode(Image.fromarray(deep), "PNG")])
    assert ok.all(), error
    expected = [_by_pillow(data, channels) for data in files]
    np.testing.assert_allclose(images[:-1], expected, atol=2.1)
    np.testing.assert_allclose(images[-1, ..., 0], deep // 257, atol=0.01)


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
    huge = encode(np.zeros((400, 300), "uint8"), "JPEG")
    animated = encode(_picture(), "GIF", save_all=True, append_images=[Image.new("RGB", SIZE)])
    images, ok, error = decode[0](
        [whole, b"", b"text", animated, huge, bomb(), whole[:50], whole[:20], bomb(2**32 - 1)]
    )
    assert ok.tolist() == [True] + [False] * 8
    assert [message.decode() for message in error] == [
        "",
        *["neither JPEG nor PNG"] * 3,
        "300x400 pixels are more than 100,000",
        "60000x60000 pixels are more than 100,000",
        *["cannot be decoded"] * 3,
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
        np.testing.assert_allclose(images[[0, -1]], [expected] * 2, atol=2.1)
        assert not images[~ok].any()


def _batches(items, size):
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


def test_a_batch_without_images_is_empty(decode):
    images, ok, error = decode[0]([])
    assert images.shape[0] == ok.size == error.size == 0
