"""From arrays to batches of fixed shape, in an order that depends on seed and epoch alone."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf


class Split(NamedTuple):
    """Images `(count, height, width, channels)`, float32 in 0..255, and integer labels `(count,)`."""

    images: np.ndarray
    labels: np.ndarray


class Splits(NamedTuple):
    """A data set: three `Split`s, and the names of its classes."""

    train: Split
    validation: Split
    test: Split
    labels: list[str]


def training_steps(split, batch_size):
    """How many whole batches an epoch has; raises ValueError if there is not one."""
    count = len(split.labels)
    if batch_size > count:
        raise ValueError(f"batch_size must be at most the {count} training images. Received: batch_size={batch_size}")
    return count // batch_size


def training_stream(split, batch_size, seed, first_epoch=0, pad=4):
    """Endless shuffled batches, each image moved by up to `pad` pixels.

    Epoch e is the same whether training starts at 0 or is continued at e: order and shifts follow from seed and epoch.

    Args:
        split: the training `Split`.
        batch_size: images in a batch; what does not fill the last batch of an epoch is left out.
        seed: an int.
        first_epoch: where to start.
        pad: black pixels added on each side before a crop of the old size is cut out at random.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`, and the number of batches in an epoch.
    """
    count, (height, width, channels) = len(split.labels), split.images.shape[1:]
    steps = training_steps(split, batch_size)
    images, labels = tf.constant(split.images), tf.constant(split.labels)

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, number])[: steps * batch_size]
        return tf.data.Dataset.from_tensor_slices(order).map(lambda index: example(number, tf.cast(index, tf.int64)))

    def example(number, index):
        padded = tf.pad(images[index], [[pad, pad], [pad, pad], [0, 0]])
        crop = tf.image.stateless_random_crop(padded, (height, width, channels), [seed, number * count + index])
        return crop, labels[index]

    stream = tf.data.Dataset.range(first_epoch, np.iinfo("int64").max).flat_map(epoch)
    return stream.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE), steps


def evaluation_batches(split, batch_size):
    """All images once, in batches of one shape: the last is filled up with images of weight 0.

    Args:
        split: a `Split`.
        batch_size: images in a batch.

    Returns:
        A `tf.data.Dataset` of `(images, labels, weights)`.
    """
    missing = -len(split.labels) % batch_size
    weights = np.concatenate([np.ones(len(split.labels), "float32"), np.zeros(missing, "float32")])
    images, labels = (np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) for part in split)
    return tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(batch_size, drop_remainder=True)
