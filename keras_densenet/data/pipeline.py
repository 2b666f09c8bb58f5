"""From a split to batches of fixed shape, in an order that depends on seed and epoch alone."""

import numpy as np
import tensorflow as tf

from keras_densenet.data.augmentation import DRAWS, Mixer, cutter, reader
from keras_densenet.data.splits import Split
from keras_densenet.data.stratify import by_class
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
    balanced: bool = False,
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
        balanced: whether every class gets as many places of an epoch, up to one; then rare classes' images come several
            times, and of frequent classes each epoch draws others.

    Returns:
        A `tf.data.Dataset` of `(images, labels)`, float32 `(batch, height, width, channels)` in 0..255 and int32
        `(batch,)`, or float32 `(batch, classes)` if `augmentation.mixes`; and the number of batches in an epoch. Of
        many labels int8 `(batch, labels)`, mixed float32; a mixed label is unknown, -1, where one of its two is.

    Raises:
        ValueError: if there is no whole batch, it cannot be shared out equally, or many labels shall be balanced.

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
    if balanced and split.labels.ndim == 2:
        raise ValueError("balanced sampling is for one class of each image; for many labels there are class weights")
    labels, cut = tf.constant(split.labels), cutter(split, augmentation.kind)
    mix = Mixer(augmentation, split.images.shape[1:], classes or int(split.labels.max()) + 1)

    def shuffled(number):
        if balanced:
            members = by_class(split.labels)
            order = tf.numpy_function(
                lambda number: _balanced(members, steps * batch_size, [seed, number]), [number], tf.int64, False
            )
            return tf.ensure_shape(order, steps * batch_size)
        return tf.random.experimental.stateless_shuffle(tf.range(count), seed=[seed, number])[: steps * batch_size]

    def epoch(number):
        order = shuffled(number)
        places = number * steps + tf.range(steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((tf.reshape(order, (steps, batch_size))[:, mine], places))

    def batch(indices, place):
        draws = tf.random.stateless_uniform((batch_size, DRAWS), [seed, place])[mine]
        drawn = tf.random.experimental.stateless_fold_in(tf.stack([tf.cast(seed, tf.int64), place]), index + 1)
        return mix(cut(indices, draws), tf.gather(labels, indices), drawn)

    stream = tf.data.Dataset.range(first_epoch, np.iinfo("int64").max).flat_map(epoch)
    return stream.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE), steps


def _balanced(members, places, seed):
    """Indices in random order, of every class as many, up to one; no image a second time before all of its class."""
    random = np.random.default_rng(seed)
    members = [members[index] for index in random.permutation(len(members))]
    shares = np.bincount(np.arange(places) % len(members), minlength=len(members))
    drawn = [np.resize(random.permutation(own), share) for own, share in zip(members, shares, strict=True)]
    return random.permutation(np.concatenate(drawn))


def evaluation_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """All images once, in batches of one shape: the last is filled up with images of weight 0.

    Args:
        split: a `Split`.
        batch_size: images in a batch.

    Returns:
        A `tf.data.Dataset` of `(images, labels, weights)`, with float32 images `(batch, height, width, channels)` in
        0..255, and labels as in the split.

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
