"""Folders of images that are made for a test."""

import numpy as np
from PIL import Image


def picture(seed=0, height=20, width=24):
    """A smooth colour image that survives JPEG: `(height, width, 3)` uint8."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), "uint8")
    return np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))


def write_classes(folder, counts, suffix=".png", **size):
    """Writes so many images for each class, all different, and returns the folder."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(picture(100 * number + index, **size)).save(folder / name / f"{index:03}{suffix}")
    return folder
