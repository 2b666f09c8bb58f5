"""What a trained network says about images."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.compat.tensorflow import number_from_afresh
from keras_densenet.data import read_images
from keras_densenet.models import framing_of
from keras_densenet.models.flat import with_temperature
from keras_densenet.types import Array, Path


def predict(
    model: keras.Model,
    paths: Iterable[Path],
    batch_size: int = 64,
    bad: Callable[[Exception], None] | None = None,
    ask: Callable[[Array], Iterable[Any]] | None = None,
) -> Iterator[tuple[Path, Any]]:
    """Asks a network about files of images, signals or volumes, a batch at a time.

    Args:
        model: from what `read_images` gives to probabilities; those of a `DenseNetModel` with `decisions` come after
            their temperature.
        paths: of image files, an iterable.
        batch_size: images in a batch; a network for any size gets them one by one.
        bad: called with the error of a file that cannot be read, which is then left out. Default: the error is raised.
        ask: a function from float32 images `(batch, *sizes, channels)` to an answer for each. Default: their
            probabilities, `(classes,)`.

    Yields:
        `(path, answer)`.

    Examples:
        >>> files = kd.data.files_of(["photos"])
        >>> answers = dict(kd.training.predict(model, files))
        >>> len(answers), answers[files[0]].shape
        (16, (3,))
    """
    framing, probabilities = framing_of(model), predictor(model)
    ask = ask or (lambda images: probabilities(tf.constant(images)).numpy())
    size, paths = 1 if framing.size is None else batch_size, iter(paths)
    while batch := list(itertools.islice(paths, size)):
        known, images = [], []
        for path in batch:
            try:
                images.append(read_images([path], framing)[0])
                known.append(path)
            except (ValueError, OSError) as error:
                if bad is None:
                    raise
                bad(error)
        if known:
            filled = np.stack([*images, *images[:1] * (size - len(images))])
            yield from zip(known, ask(filled), strict=False)


def predictor(model: keras.Model, ten_crop: bool = False) -> Callable[[Any], Any]:
    """A compiled function from images to probabilities, after the temperature of the model's `decisions`."""
    if ten_crop and len(model.input_shape) != 4:
        raise ValueError(f"ten_crop is for images. Received: a model of {model.input_shape}")
    model = with_temperature(model)

    def probabilities(images):
        number_from_afresh()
        if not ten_crop:
            return model(images, training=False)
        return sum(model(crop, training=False) for crop in _ten_crops(images)) / 10

    return tf.function(probabilities, jit_compile=True, autograph=False, reduce_retracing=True)


def _ten_crops(images):
    """Corners and centre of the images enlarged by 8/7 (256 to 224), and their mirror images."""
    height, width = images.shape[1:3]
    above, left = round(height / 7), round(width / 7)
    large = tf.image.resize(images, (height + above, width + left))
    for y, x in ((0, 0), (0, left), (above, 0), (above, left), (above // 2, left // 2)):
        crop = large[:, y : y + height, x : x + width]
        yield from (crop, crop[:, :, ::-1])
