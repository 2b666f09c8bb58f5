"""Varying training images: which box is cut out of each, and what Keras' own layers do to the batch."""

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.data.images import as_pictures
from keras_densenet.data.splits import mean_and_std

PAD, TRIES = 4, 10
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
            boxes = [lambda height, width, row=row: random_box(height, width, row) for row in draws]
            return pictures.decode(pictures.keys[which], boxes)

        return lambda indices, draws: _flipped(_decoded(pictures, cut, indices, draws[:, 1:]), draws[:, 0])
    if kind == "shift":
        return lambda indices, draws: _shifted(read(indices), draws[:, 1:3])
    mean, _ = mean_and_std(split)
    return lambda indices, draws: _flipped(_shifted(read(indices) - mean, draws[:, 1:3]) + mean, draws[:, 0])


def random_box(height, width, draws):
    """The first of ten random boxes `(top, left, height, width)` that fits into the image, or the centre.

    Source: "Going deeper with convolutions" (Szegedy et al., 2015), section 6.
    """
    for area, aspect, y, x in draws.reshape(TRIES, 4):
        area, aspect = (0.08 + 0.92 * area) * height * width, np.exp(np.log(4 / 3) * (2 * aspect - 1))
        box_height, box_width = np.sqrt(area / aspect), np.sqrt(area * aspect)
        if box_height <= height and box_width <= width:
            return y * (height - box_height), x * (width - box_width), box_height, box_width
    side = min(height, width)
    return (height - side) / 2, (width - side) / 2, side, side


def _decoded(pictures, function, *arguments):
    images = tf.numpy_function(function, arguments, tf.as_dtype(pictures.dtype), stateful=False)
    return tf.cast(tf.ensure_shape(images, (arguments[0].shape[0], *pictures.shape[1:])), tf.float32)


def _shifted(images, draws):
    """Moves each image by up to PAD pixels; what comes in is zero."""
    _, height, width, _ = images.shape
    padded = tf.pad(images, [[0, 0], [PAD, PAD], [PAD, PAD], [0, 0]])
    offsets = tf.cast(draws * (2 * PAD + 1), tf.int32)
    rows = tf.gather(padded, offsets[:, :1] + tf.range(height), axis=1, batch_dims=1)
    return tf.gather(rows, offsets[:, 1:] + tf.range(width), axis=2, batch_dims=1)


def _flipped(images, draws):
    return tf.where((draws < 0.5)[:, None, None, None], images[:, :, ::-1], images)


class Mixer:
    """Keras' layers of an `Augmentation`, with random numbers that follow from a seed tensor alone.

    Args:
        augmentation: an `Augmentation`.
        shape: of one image.
        classes: how many there are, where an image has one.
    """

    def __init__(self, augmentation, shape, classes):
        if shape[-1] != 3 and (augmentation.jitter or augmentation.randaugment):
            raise ValueError(f"jitter and randaugment need RGB images. Received: images with {shape[-1]} channels")
        self.seeds, self.classes = _Seeds(), classes if augmentation.mixes else None
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


class _Seeds(keras.random.SeedGenerator):
    """Instead of a counter in a variable, which would make a batch depend on how many were drawn before it."""

    def __init__(self):
        pass

    def restart(self, seed):
        self.seed, self.drawn = seed, 0

    def next(self, ordered=True):
        self.drawn += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.drawn)
