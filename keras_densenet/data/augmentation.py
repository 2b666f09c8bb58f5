"""Varying training images: which box is cut out of each, and what Keras' own layers do to the batch."""

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.architecture import image_words
from keras_densenet.data.images import as_pictures
from keras_densenet.data.splits import mean_and_std
from keras_densenet.ops.framing import NONE

PAD, TRIES, LEAST = 4, 10, 0.08
DRAWS = 1 + 4 * TRIES


def reader(images):
    """A function in TensorFlow from indices to float32 images."""
    if isinstance(images, np.ndarray):
        with tf.device("cpu"):
            pixels = tf.constant(images)
        return lambda indices: tf.cast(tf.gather(pixels, indices), tf.float32)
    return lambda indices: _decoded(images, lambda which: images[which], indices)


def cutter(split, kind):
    """A function in TensorFlow that reads images and cuts a random box out of each.

    Args:
        split: the training `Split`.
        kind: of an `Augmentation`.

    Returns:
        A function from indices `(batch,)` and uniform numbers `(batch, DRAWS)` to float32 images.
    """
    read = reader(split.images)
    if kind == "none":
        return lambda indices, draws: read(indices)
    if kind == "imagenet":
        pictures = as_pictures(split.images) if isinstance(split.images, np.ndarray) else split.images

        def cut(which, draws):
            boxes = [lambda *sizes, row=row: random_box(pictures.framing, sizes, row) for row in draws]
            return pictures.decode(pictures.keys[which], boxes)

        return lambda indices, draws: _flipped(_decoded(pictures, cut, indices, draws[:, 1:]), draws[:, 0])
    if kind == "shift":
        return lambda indices, draws: _shifted(read(indices), draws[:, 1:])
    mean, _ = mean_and_std(split)
    return lambda indices, draws: _flipped(_shifted(read(indices) - mean, draws[:, 1:]) + mean, draws[:, 0])


def random_box(framing, sizes, draws):
    """A random box of an image, signal or volume, for a `Framing`: starts and lengths along each axis."""
    if framing.dimensions == 2:
        return random_photo_box(*sizes, draws)
    places, shares = draws[: len(sizes)], draws[len(sizes) : 2 * len(sizes)]
    sides = framing.size
    if framing.interpolation != NONE:
        least = LEAST ** (1 / len(sizes))
        sides = [(least + (1 - least) * share) * length for share, length in zip(shares, sizes, strict=True)]
    return *(place * (length - side) for place, length, side in zip(places, sizes, sides, strict=True)), *sides


def random_photo_box(height, width, draws):
    """The first of ten random boxes `(top, left, height, width)` that fits into the image, or the centre.

    Source: "Going deeper with convolutions" (Szegedy et al., 2015), section 6.
    """
    for area, aspect, y, x in draws.reshape(TRIES, 4):
        area, aspect = (LEAST + (1 - LEAST) * area) * height * width, np.exp(np.log(4 / 3) * (2 * aspect - 1))
        box_height, box_width = np.sqrt(area / aspect), np.sqrt(area * aspect)
        if box_height <= height and box_width <= width:
            return y * (height - box_height), x * (width - box_width), box_height, box_width
    side = min(height, width)
    return (height - side) / 2, (width - side) / 2, side, side


def _decoded(pictures, function, *arguments):
    images = tf.numpy_function(function, arguments, tf.as_dtype(pictures.dtype), stateful=False)
    return tf.cast(tf.ensure_shape(images, (arguments[0].shape[0], *pictures.shape[1:])), tf.float32)


def _shifted(images, draws):
    """Moves each image by up to PAD pixels along each axis; what comes in is zero."""
    sizes = images.shape[1:-1]
    images = tf.pad(images, [[0, 0], *([[PAD, PAD]] * len(sizes)), [0, 0]])
    offsets = tf.cast(draws[:, : len(sizes)] * (2 * PAD + 1), tf.int32)
    for axis, size in enumerate(sizes):
        images = tf.gather(images, offsets[:, axis, None] + tf.range(size), axis=axis + 1, batch_dims=1)
    return images


def _flipped(images, draws):
    """The mirror image of every other photo; signals and volumes as they are."""
    return _mirrored(images, 1, draws) if images.shape.rank == 4 else images


def _mirrored(images, axis, draws):
    is_so = tf.reshape(draws < 0.5, [-1] + [1] * (images.shape.rank - 1))
    return tf.where(is_so, tf.reverse(images, [axis + 1]), images)


class Mixer:
    """Keras' layers of an `Augmentation`, with random numbers that follow from a seed tensor alone.

    Args:
        augmentation: an `Augmentation`.
        shape: of one image.
        classes: how many there are, where an image has one.
    """

    def __init__(self, augmentation, shape, classes):
        *sizes, channels = shape
        of_images = ("jitter", "randaugment", "mixup", "cutmix")
        if len(sizes) != 2 and any(getattr(augmentation, name) for name in of_images):
            received = image_words(len(sizes))[0]
            raise ValueError(f"{', '.join(of_images)} are for images: leave them out. Received: {received}s")
        if any(axis >= len(sizes) for axis in augmentation.flips):
            raise ValueError(f"flips must be axes in 0..{len(sizes) - 1}. Received: flips={augmentation.flips}")
        if channels != 3 and (augmentation.jitter or augmentation.randaugment):
            raise ValueError(f"jitter and randaugment need RGB images. Received: images with {channels} channels")
        self.seeds, self.classes = _Seeds(), classes if augmentation.mixes else None
        self.flips, self.intensity = augmentation.flips, augmentation.intensity
        strength, factor = augmentation.jitter, augmentation.randaugment
        layers, scale = keras.layers, {"value_range": (0, 255)}
        jitter = {f"{name}_factor": strength for name in ("brightness", "contrast", "saturation")}
        self.varying = [layers.RandomColorJitter(**jitter, **scale)] * bool(strength)
        self.varying += [layers.RandAugment(**scale, factor=factor)] * bool(factor)
        self.mixing = [layers.MixUp(augmentation.mixup)] * bool(augmentation.mixup)
        self.mixing += [layers.CutMix(augmentation.cutmix)] * bool(augmentation.cutmix)
        for layer in self.varying + self.mixing:
            layer.generator = self.seeds

    def __call__(self, images, labels, seed):
        self.seeds.restart(seed)
        for axis in self.flips:
            images = _mirrored(images, axis, self._uniform(images, 0, 1))
        if self.intensity:
            images = self._brightened(images)
        for layer in self.varying:
            images = layer(images, training=True)
        if not self.mixing:
            return images, labels
        many = labels.shape.rank == 2
        known = tf.cast(tf.maximum(labels, 0), tf.float32) if many else tf.one_hot(labels, self.classes)
        unknown = tf.cast(labels == -1, tf.float32) if many else tf.zeros_like(known)
        batch = {"images": images, "labels": tf.concat([known, unknown], -1)}
        choice = tf.random.stateless_uniform((), self.seeds.next(), 0, len(self.mixing), tf.int32)
        mixed = tf.switch_case(choice, [lambda layer=layer: layer(batch, training=True) for layer in self.mixing])
        known, unknown = tf.split(mixed["labels"], 2, -1)
        return mixed["images"], tf.where(unknown > 0, -1.0, known)

    def _uniform(self, images, low, high):
        return tf.random.stateless_uniform((images.shape[0],), self.seeds.next(), low, high)

    def _brightened(self, images):
        strength, shape = self.intensity, [-1] + [1] * (images.shape.rank - 1)
        factor = tf.reshape(self._uniform(images, 1 - strength, 1 + strength), shape)
        offset = tf.reshape(self._uniform(images, -strength, strength), shape)
        deviation = tf.math.reduce_std(images, range(1, images.shape.rank), keepdims=True)
        return images * factor + offset * deviation


class _Seeds(keras.random.SeedGenerator):
    """Instead of a counter in a variable, which would make a batch depend on how many were drawn before it."""

    def __init__(self):
        pass

    def restart(self, seed):
        self.seed, self.drawn = seed, 0

    def next(self, ordered=True):
        self.drawn += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.drawn)
