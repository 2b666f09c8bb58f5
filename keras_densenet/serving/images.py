"""JPEG and PNG files as pixels, in the graph: a bad file costs its own answer, not its batch's, and bounded memory."""

import tensorflow as tf

from keras_densenet import ops
from keras_densenet.data.arrays import ORIENTATION

DECODABLE_CHANNELS = (1, 3)
_PARALLEL = 4  # images decoded at a time, which bounds the memory together with the limit of pixels
_EXIF_BYTES = 1 << 16  # an EXIF segment is not longer


def decode_images(encoded, framing, prepare, shape, max_pixels):
    """Decodes a batch of files as a `Framing` says and `data.read_images` does, with plain TensorFlow operations.

    The format is told by the first bytes and the size is read from the header before anything is decoded. Grey, RGB,
    palette, CMYK, 16-bit and transparent images become 8-bit grey or RGB (alpha is dropped), and EXIF orientation is
    applied. The pixels are those of Pillow to rounding: where CMYK is converted, and in each of the two passes of a
    resize, a level of 255.

    Args:
        encoded: strings `(batch,)`.
        framing: a `Framing` of 1 or 3 channels.
        prepare: a function from the pixels of one image, uint8 `(height, width, channels)`, to `shape`.
        shape: of one prepared image, all of it known.
        max_pixels: larger images are refused.

    Returns:
        `(images, ok, error)`: float32 `(batch, *shape)`, zeros where there was an error; bool and string `(batch,)`.
    """

    def decode(index, data):
        is_png = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
        is_jpeg = tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"
        height, width = tf.cond(is_png, lambda: _png_size(data), lambda: _jpeg_size(data, is_jpeg))
        sides = tf.strings.format("{}x{}", (width, height))
        error = tf.where(is_png & _is_animated(data), b"animated", b"")
        error = tf.where(height * width > max_pixels, sides + f" pixels are more than {max_pixels:,}", error)
        error = tf.where(is_png | is_jpeg, error, b"neither JPEG nor PNG")

        def pixels():
            image = _framed(data, is_png, height, width, framing)
            return tf.ensure_shape(tf.cast(prepare(image), tf.float32), shape)

        return index, tf.cond(error == b"", pixels, lambda: tf.zeros(shape)), error

    count = tf.size(encoded)
    # Whatever a decoder does not like ends in an exception, and `ignore_errors` is what catches one in a graph.
    dataset = tf.data.Dataset.from_tensor_slices((tf.range(count), encoded)).map(decode, _PARALLEL).ignore_errors()
    last = tf.data.Dataset.from_tensors((count, tf.zeros(shape), b""))  # so that there is a batch to get
    found = dataset.concatenate(last).batch(tf.cast(count, tf.int64) + 1).get_single_element()
    index, images, errors = (part[:-1] for part in found)
    images = tf.scatter_nd(index[:, None], images, (count, *shape))
    errors = tf.tensor_scatter_nd_update(tf.fill([count], b"cannot be decoded"), index[:, None], errors)
    return images, errors == b"", errors


def _framed(data, is_png, height, width, framing):
    """The pixels of one file whose size before it is turned is known, uint8."""
    orientation = _orientation(data, tf.where(is_png, b"eXIf", b"Exif\0\0"))
    turned = orientation >= 5
    height, width = tf.where(turned, width, height), tf.where(turned, height, width)

    def decoded(factor):
        def jpeg(ratio):
            return lambda: tf.io.decode_jpeg(data, 3, ratio=ratio, dct_method="INTEGER_ACCURATE")

        by_ratio = {1: jpeg(1), 2: jpeg(2), 4: jpeg(4), 8: jpeg(8)}
        reduced = by_ratio[1] if factor is None else lambda: tf.switch_case(_power(factor), [*by_ratio.values()])
        image = _upright(tf.cond(is_png, lambda: tf.io.decode_png(data, 3), reduced), orientation)
        image = _grey(image) if framing.channels == 1 else image
        image.set_shape((None, None, framing.channels))
        return image

    if framing.size is None:
        return decoded(None)

    def resized():
        sides = tf.cast(tf.stack([height, width]), tf.float32)
        box = tf.cast(tf.stack(framing.box(height, width)), tf.float32)
        image = decoded(framing.reduction(tf.unstack(box)))
        scale = tf.cast(tf.shape(image)[:2], tf.float32) / sides
        return ops.resize_box(image, tf.unstack(box * tf.tile(scale, [2])), framing.size, framing.interpolation)

    has_its_size = tf.reduce_all(tf.stack([height, width]) == framing.size)
    return tf.cond(has_its_size, lambda: decoded(None), resized)


def _power(factor):
    """0, 1, 2, 3 for 1, 2, 4, 8."""
    return sum(tf.cast(factor > half, tf.int32) for half in (1, 2, 4))


def _grey(image):
    """The luma of RGB as Pillow has it, in 16-bit fixed point."""
    weighted = tf.reduce_sum(tf.cast(image, tf.int32) * [19595, 38470, 7471], -1, keepdims=True)
    return tf.cast((weighted + 0x8000) // 0x10000, tf.uint8)


def _is_animated(data):
    """Whether a PNG tells so before its first pixels."""
    head = tf.raw_ops.StringSplitV2(input=[tf.strings.substr(data, 0, 2 * _EXIF_BYTES)], sep=b"IDAT", maxsplit=1).values
    parts = tf.raw_ops.StringSplitV2(input=head[:1], sep=b"acTL", maxsplit=1).values
    return tf.size(parts) > 1


def _png_size(data):
    sides = tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8)
    width, height = tf.unstack(_number(tf.reshape(sides, (2, 4))))
    return height, width


def _jpeg_size(data, is_jpeg):
    none = tf.zeros(3, tf.int64)
    shape = tf.cond(is_jpeg, lambda: tf.cast(tf.io.extract_jpeg_shape(data), tf.int64), lambda: none)
    return shape[0], shape[1]


def _number(digits):
    """Big-endian numbers of the bytes along the last axis."""
    size = digits.shape[-1]
    return tf.reduce_sum(tf.cast(digits, tf.int64) * [256**power for power in reversed(range(size))], -1)


def _orientation(data, start):
    """EXIF orientation, 1..8; 1 where there is none, or what there is cannot be read."""
    head = tf.strings.substr(data, 0, 2 * _EXIF_BYTES)
    parts = tf.raw_ops.StringSplitV2(input=[head], sep=start, maxsplit=1).values
    tiff = tf.concat([parts, [b""]], 0)[1]
    is_little = tf.strings.substr(tiff, 0, 2) == b"II"
    digits = tf.io.decode_raw(tf.strings.substr(tiff, 0, _EXIF_BYTES), tf.uint8)
    digits = tf.concat([digits, [0]], 0)

    def read(at, size):
        order = tf.where(is_little, tf.range(size)[::-1], tf.range(size))
        at = at[..., None] + tf.cast(order, tf.int64)
        return _number(
            tf.ensure_shape(tf.gather(digits, tf.clip_by_value(at, 0, tf.size(digits, tf.int64) - 1)), at.shape)
        )

    directory = read(tf.constant(4, tf.int64), 4)
    entries = directory + 2 + 12 * tf.range(read(directory, 2))
    found = tf.boolean_mask(entries, read(entries, 2) == ORIENTATION)
    value = tf.concat([read(found + 8, 2), [1]], 0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright(image, orientation):
    def turn():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        down = tf.where(tf.reduce_any(orientation == [3, 4, 7, 8]), -1, 1)
        right = tf.where(tf.reduce_any(orientation == [2, 3, 6, 7]), -1, 1)
        return turned[::down, ::right]

    return tf.cond(orientation == 1, lambda: image, turn)
