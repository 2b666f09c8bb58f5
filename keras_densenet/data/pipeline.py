"""From a split to batches of fixed shape, in an order that depends on seed and epoch alone."""

import numpy as np
import tensorflow as tf

from keras_densenet.data.augmentation import DRAWS, Mixer, cutter, reader
from keras_densenet.data.splits import Split
from keras_densenet.data.variation import Augmentation


def training_steps(split: Split, batch_size: int) -> int:
    """How many whole batches an epoch has; raises ValueError if there is not one.

    Examples:
        >>> kd.data.training_steps(splits.train, batch_size=8)
        3
    """
    count = len(split.labels)
    if batch_size > count:
        raise ValueError(f"batch_size must be at most the {count} training images. Received: batch_size={batch_size}")
    return count // batch_size


NOTHING = Augmentation()


def training_stream(
    split: Split,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    augmentation: Augmentation = NOTHING,
    shard: tuple[int, int] = (0, 1),
    classes: int | None = None,
) -> tuple[tf.data.Dataset, int]:
    """Endless shuffled batches of varied images.

    Epoch e is the same whether training starts at 0 or is continued at e: order and variation follow from seed, epoch
    and place in it.

    Args:
        split: the training `Split`.
        batch_size: images in a global batch; what does not fill the last batch of an epoch is left out.
        seed: an int.
        first_epoch: where to start.
        augmentation: an `Augmentation`.
        shard: `(index, count)` of a worker: it gets the index-th of so many equal slices of each global batch and reads
            only those images. Cuts and flips are those of the unsharded stream; what Keras' layers draw is not.
        classes: how many classes mixed labels have. Default: the largest label + 1.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`, float32 `(batch, height, width, channels)` in 0..255 and int32
        `(batch,)`, or float32 `(batch, classes)` if `augmentation.mixes`; and the number of batches in an epoch.

    Raises:
        ValueError: if there is no whole batch, or it cannot be shared out equally.

    Examples:
        >>> batches, steps = kd.data.training_stream(splits.train, batch_size=8, seed=0)
        >>> [pixels.shape for pixels, _ in batches.take(1)], steps
        ([TensorShape([8, 16, 16, 3])], 3)
    """
    count, steps = len(split.labels), training_steps(split, batch_size)
    index, workers = shard
    if batch_size % workers:
        raise ValueError(f"batch_size must be a multiple of the {workers} workers. Received: batch_size={batch_size}")
    mine = slice(index * (batch_size // workers), (index + 1) * (batch_size // workers))
    labels, cut = tf.constant(split.labels), cutter(split, augmentation.kind)
    mix = Mixer(augmentation, split.images.shape[1:], classes or int(split.labels.max()) + 1)

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, number])[: steps * batch_size]
        places = number * steps + tf.range(steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((tf.reshape(order, (steps, batch_size))[:, mine], places))

    def batch(indices, place):
        draws = tf.random.stateless_uniform((batch_size, DRAWS), [seed, place])[mine]
        drawn = tf.random.experimental.stateless_fold_in(tf.stack([tf.cast(seed, tf.int64), place]), index + 1)
        return mix(cut(indices, draws), tf.gather(labels, indices), drawn)

    stream = tf.data.Dataset.range(first_epoch, np.iinfo("int64").max).flat_map(epoch)
    return stream.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE), steps


def evaluation_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """All images once, in batches of one shape: the last is filled up with images of weight 0.

    Args:
        split: a `Split`.
        batch_size: images in a batch.

    Returns:
        A `tf.data.Dataset` of `(images, labels, weights)`, with float32 images `(batch, height, width, channels)` in
        0..255.

    Examples:
        >>> batches = kd.data.evaluation_batches(splits.test, batch_size=8)
        >>> [weights.numpy().sum() for _, _, weights in batches]  # 12 images
        [np.float32(8.0), np.float32(4.0)]
    """
    count = len(split.labels)
    places = np.arange(count + -count % batch_size).reshape(-1, batch_size)
    read, labels = reader(split.images), tf.constant(split.labels)

    def batch(places):
        indices = tf.where(places < count, places, 0)
        return read(indices), tf.gather(labels, indices), tf.cast(places < count, tf.float32)

    batches = tf.data.Dataset.from_tensor_slices(places).map(batch, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)
