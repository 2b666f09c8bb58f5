"""Where a network looks: Grad-CAM and Grad-CAM++ over its pyramid."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.explain.drawing import colours
from keras_densenet.layers import Head, Preprocess
from keras_densenet.models.flat import ending, flat, stages
from keras_densenet.types import Array, Tensor

METHODS = ("grad-cam", "grad-cam++")


class ClassActivation(NamedTuple):
    """What `grad_cam` gives.

    Args:
        maps: float32 `(batch, height, width)` of the images' size, 0..1; all 0 where nothing speaks for the class. Of
            signals they are `(batch, length)`, of volumes `(batch, depth, height, width)`.
        classes: int64 `(batch,)`, the classes that were explained.
        scores: float32 `(batch,)`, their logits.

    Examples:
        >>> kd.grad_cam(model, images / 255, class_index=2).classes.tolist()
        [2, 2, 2, 2]
    """

    maps: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def grad_cam(
    model: keras.Model,
    images: Tensor,
    class_index: int | Sequence[int] | None = None,
    level: str | None = None,
    method: str = "grad-cam",
    batch_size: int = 32,
) -> ClassActivation:
    """Shows what in images speaks for a class.

    Grad-CAM sums a level's channels, each weighted by the mean gradient of the class' logit with respect to it, and
    keeps what is positive; Grad-CAM++ weights the positive gradients by how much each pixel alone would explain. The
    network is differentiated as it predicts, with `training=False`: that is ordinary differentiation, which equals the
    hand-written gradient of training where that is given the moving statistics. A folded network gives the same maps.

    Args:
        model: a functional or sequential `keras.Model` with a DenseNet of this package, whatever stands before it (such
            as `Preprocess`), and a head that ends in class scores; those before a last softmax or sigmoid are used.
        images: what the model takes, `(batch, height, width, channels)`, or a batch of signals or volumes.
        class_index: a class, or one for each image. Default: each image's most probable one.
        level: a name from `model.pyramid_outputs`. Default: the last, P5 of an ImageNet network, P2 of a CIFAR one.
            Earlier levels give finer maps of simpler features.
        method: "grad-cam" or "grad-cam++", which is made for features that are not negative: the last level's, behind
            BN and ReLU. Those of a block have both signs.
        batch_size: images that are computed at once.

    Returns:
        A `ClassActivation`.

    Raises:
        ValueError: names the argument, what was received and what is allowed.

    Examples:
        >>> maps, classes, scores = kd.grad_cam(model, images / 255, level="P1")
        >>> maps.shape, classes.shape
        ((4, 16, 16), (4,))

    Source: Selvaraju et al., Grad-CAM, ICCV 2017; Chattopadhay et al., Grad-CAM++, WACV 2018.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Received: method={method!r}")
    network = flat(model)
    images = _checked(network, images)
    levels = _levels(network)
    level = [*levels][-1] if level is None else level
    if level not in levels:
        raise ValueError(f"level must be one of {', '.join(levels)}. Received: level={level!r}")
    both = keras.Model(network.inputs, [levels[level], ending(network)[0]])
    classes = None if class_index is None else _classes(class_index, len(images), network.output_shape[-1])
    found = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        found.append(_explain(both, images[part], None if classes is None else classes[part], method))
    maps, classes, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    maps = _in_place(maps, images.shape[1:-1], *stages(network, Preprocess))
    return ClassActivation(maps, classes, scores)


def overlay(images: Tensor, maps: Array, opacity: float = 0.6) -> Array:
    """Lays maps over images.

    Args:
        images: pixels (or voxels) in 0..255, `(batch, ..., channels)`; one channel is shown in grey, of others than 3
            and 4 their mean.
        maps: of `grad_cam`, `(batch, ...)` in 0..1.
        opacity: of the map where it is 1; where it is 0 the image shows.

    Returns:
        uint8 `(batch, ..., 3)`.

    Examples:
        >>> kd.explain.overlay(images, np.zeros((4, 16, 16))).shape
        (4, 16, 16, 3)
    """
    images = np.asarray(images, "float32")
    pixels = images[..., :3] if images.shape[-1] in (3, 4) else np.repeat(images.mean(-1, keepdims=True), 3, -1)
    maps = np.asarray(maps, "float32")
    weight = opacity * maps[..., None]
    return np.clip((1 - weight) * pixels + weight * colours(0.9 * maps), 0, 255).round().astype("uint8")


def _checked(network, images):
    output = network.output_shape
    if len(network.inputs) != 1 or not isinstance(output, tuple) or len(output) != 2:
        raise ValueError(
            "grad_cam takes a model from one image to class scores (batch, classes); reset_classifier makes one. "
            f"Received: {network.name!r} with outputs of shape {output}"
        )
    if isinstance(images, (list, tuple)):
        images = np.stack([np.asarray(image) for image in images]) if len(images) else np.empty((0,))
    shape, wanted = tuple(images.shape), network.input_shape
    fits = len(shape) == len(wanted) and all(a in (None, b) for a, b in zip(wanted[1:], shape[1:], strict=True))
    if not fits or not shape[0]:
        raise ValueError(f"images must be a batch of shape {wanted}, at least one image. Received: shape {shape}")
    return images


def _levels(network):
    if not stages(network, Head):
        raise ValueError(f"grad_cam takes a whole DenseNet, up to its Head. Received: {network.name!r} without one")
    return network.pyramid_outputs


def _classes(class_index, count, classes):
    found = np.asarray(class_index)
    if found.dtype.kind not in "iu" or found.shape not in ((), (count,)):
        raise ValueError(f"class_index must be a whole number, or one for each image. Received: {class_index!r}")
    if found.size and (found.min() < 0 or found.max() >= classes):
        raise ValueError(f"class_index must be in 0..{classes - 1}. Received: {class_index!r}")
    return np.broadcast_to(found, count).astype("int64")


def _explain(both, images, classes, method):
    """One batch -> maps of the level's size in 0..1, classes, scores."""
    images = tf.cast(tf.convert_to_tensor(images), both.inputs[0].dtype)
    with tf.GradientTape() as tape:
        tape.watch(images)
        features, scores = both(images, training=False)
        scores = tf.cast(scores, tf.float32)
        classes = tf.argmax(scores, -1) if classes is None else tf.constant(classes)
        chosen = tf.gather(scores, classes, batch_dims=1)
    gradient = tape.gradient(chosen, features)
    if gradient is None:
        raise ValueError("This level does not reach the class scores in this model: choose another level")
    features, gradient = tf.cast(features, tf.float32), tf.cast(gradient, tf.float32)
    maps = tf.nn.relu(tf.reduce_sum(features * _channel_weights(features, gradient, method), -1))
    maps = tf.math.divide_no_nan(maps, tf.reduce_max(maps, range(1, len(maps.shape)), keepdims=True))
    return maps.numpy(), classes.numpy(), chosen.numpy()


def _channel_weights(features, gradient, method):
    """`(batch, 1, ..., channels)`."""
    pixels = range(1, len(features.shape) - 1)
    if method == "grad-cam":
        return tf.reduce_mean(gradient, pixels, keepdims=True)
    # The paper's alpha, g^2 / (2 g^2 + sum(A) g^3), where g > 0. It knows no negative features.
    positive, total = tf.nn.relu(gradient), tf.reduce_sum(tf.nn.relu(features), pixels, keepdims=True)
    return tf.reduce_sum(positive / (2 + total * positive), pixels, keepdims=True)


def _in_place(maps, size, front=None):
    """Enlarges maps to the images, or to the part that `Preprocess` cuts out of them; the rest is 0."""
    if front is None or not front.size:
        return _enlarged(maps, size)
    height, width = size
    frame = [int(length / front.crop_pct) for length in front.size]
    scale = max(frame[0] / height, frame[1] / width)
    box = [min(max(1, round(part / scale)), whole) for part, whole in zip(front.size, size, strict=True)]
    top, left = (height - box[0]) // 2, (width - box[1]) // 2
    return np.pad(_enlarged(maps, box), ((0, 0), (top, height - box[0] - top), (left, width - box[1] - left)))


def _enlarged(maps, size):
    """Maps `(batch, ...)` of another size, linear between their points; of volumes first within planes."""
    first, *plane = size
    if len(size) == 1:
        return _enlarged(maps[..., None], (first, 1))[..., 0]
    if len(size) == 3:
        count, depth, *own = maps.shape
        planes = _enlarged(maps.reshape(count * depth, *own), plane).reshape(count, depth, -1)
        return _enlarged(planes, (first, planes.shape[-1])).reshape(count, *size)
    return tf.image.resize(maps[..., None], size).numpy()[..., 0]
