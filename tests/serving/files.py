"""Image files, good and bad."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

FORMATS = {"JPEG": {"quality": 100, "subsampling": 0}, "PNG": {}, "GIF": {}, "BMP": {}, "WEBP": {"lossless": True}}


def encode(image, kind="PNG", **options):
    """An array or a Pillow image as the bytes of a file."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, kind, **{**FORMATS[kind], **options})
    return file.getvalue()


def bomb(side=60_000):
    """A PNG of a few bytes whose header promises `side` x `side` pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10_000)))
        + chunk(b"IEND", b"")
    )


def mutated(count, seed=0):
    """`count` files: mutated, truncated and spliced images of five formats, bombs, empty ones, text."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (40, 50, 3)).astype("uint8")
    seeds = [encode(image, kind) for kind in FORMATS] + [encode(image, "JPEG", progressive=True)]
    seeds += [encode(image[..., 0], "PNG"), encode(Image.fromarray(image).convert("P"), "PNG", bits=4)]
    seeds += [encode(image, "GIF", save_all=True, append_images=[Image.fromarray(image)] * 3)]
    for number in range(count):
        data = bytearray(seeds[random.integers(len(seeds))])
        kind = number % 8
        if kind == 0:  # a few bytes anywhere
            for _ in range(random.integers(1, 20)):
                data[random.integers(len(data))] = random.integers(256)
        elif kind == 1:  # a few bytes of the header
            for _ in range(random.integers(1, 6)):
                data[random.integers(min(64, len(data)))] = random.integers(256)
        elif kind == 2:
            del data[random.integers(len(data)) :]
        elif kind == 3:
            start = random.integers(len(data))
            del data[start : start + random.integers(1, 200)]
        elif kind == 4:
            start = random.integers(len(data))
            data[start:start] = random.bytes(random.integers(1, 200))
        elif kind == 5:  # the front of one, the back of another
            other = seeds[random.integers(len(seeds))]
            data[random.integers(len(data)) :] = other[random.integers(len(other)) :]
        elif kind == 6:
            data = bytearray(
                [b"", b"an ode to pixels", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", random.bytes(300)][number // 8 % 5]
            )
        else:  # a huge size in a header that is right otherwise
            data = bytearray(bomb(int(random.integers(8_000, 2**31))))
        yield bytes(data)
