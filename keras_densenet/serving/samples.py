"""Image files of the kinds that people send, for warming up and checking an export."""

import io

import numpy as np

from keras_densenet.data import read_images
from keras_densenet.data.images import ORIENTATION, pillow


def samples_for(served):
    """`sample_files` for a `Served`, none where it takes none, and each as Pillow decodes it, a batch of one."""
    files = sample_files(served.size, served.max_pixels) if "image_bytes" in served.signatures else []
    return files, [read_images([file], served.framing) for file in files]


def random_pixels(served, count=1):
    """Images for a `Served`, uint8."""
    shape = (count, *served.size, served.model.input_shape[-1])
    return np.random.default_rng(0).integers(0, 256, shape).astype("uint8")


def sample_files(size, max_pixels):
    """Small pictures as files: wide, tall, large, turned by EXIF, grey, 16-bit, CMYK, with a palette, and a plain one.

    Args:
        size: `(height, width)` of a network's input, which the plain one has.
        max_pixels: larger ones are left out.

    Returns:
        A list of bytes, JPEG and PNG files; the plain one is the first.
    """
    PIL, (height, width) = pillow(), size
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = 6
    kinds = [
        ((height, width), "RGB", "PNG", {}),
        ((height, 3 * width), "RGB", "JPEG", {}),
        ((3 * height, width), "RGB", "JPEG", {}),
        ((5 * height + 3, 5 * width + 1), "RGB", "JPEG", {}),  # decodes at half its size
        ((2 * height, width), "RGB", "JPEG", {"exif": exif}),
        ((height + 1, width), "L", "JPEG", {}),
        ((height, 2 * width), "I;16", "PNG", {}),
        ((2 * height, 2 * width), "CMYK", "JPEG", {}),
        ((height, width + 1), "P", "PNG", {"transparency": 0}),
    ]
    return [
        _file(_picture(PIL, seed, *shape), mode, kind, options)
        for seed, (shape, mode, kind, options) in enumerate(kinds)
        if shape[0] * shape[1] <= max_pixels
    ]


def _picture(PIL, seed, height, width):
    """Large and small shapes, and some noise, as in a photo."""
    random, pixels = np.random.default_rng(seed), np.zeros((height, width, 3))
    for side, strength in ((4, 1.0), (16, 0.4)):
        shapes = PIL.Image.fromarray(random.integers(0, 256, (side, side, 3)).astype("uint8"))
        pixels += strength * np.asarray(shapes.resize((width, height), PIL.Image.Resampling.BICUBIC), "float64")
    return np.clip(pixels / 1.4 + random.normal(0, 4, pixels.shape), 0, 255).astype("uint8")


def _file(pixels, mode, kind, options):
    PIL, file = pillow(), io.BytesIO()
    if mode == "I;16":
        image = PIL.Image.fromarray(pixels[..., 0].astype("uint16") << 8)
    else:
        image = PIL.Image.fromarray(pixels).convert(mode)
    image.save(file, kind, **options)
    return file.getvalue()
