"""How strongly the loss' gradient reaches each layer."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.types import Array, Tensor


class KernelGradient(NamedTuple):
    """The gradient that reaches one kernel: the kernel's path and shape, the norms of gradient and kernel.

    Examples:
        >>> first = kd.explain.gradient_flow(model, images / 255, labels)[0]
        >>> first.norm > 0 and first.kernel_norm > 0
        True
    """

    path: str
    shape: tuple[int, ...]
    norm: float
    kernel_norm: float

    @property
    def relative(self) -> float:
        """The norm of the gradient by that of the kernel, which takes the kernel's size out of it."""
        return self.norm / self.kernel_norm


def gradient_flow(model: keras.Model, images: Tensor, labels: Sequence[int] | Array) -> list[KernelGradient]:
    """Computes the norm of the gradient that reaches each convolution and dense kernel in a training step.

    Of a DenseNet of this package this is the hand-written gradient. The model is left as it was: neither weights nor
    moving statistics change.

    Args:
        model: any built `keras.Model` from images to class probabilities.
        images: a batch `(batch, height, width, channels)` as the model takes it.
        labels: `(batch,)` integers.

    Returns:
        A list with a `KernelGradient` of the mean cross-entropy for every trainable kernel, from the first layer to the
        last.

    Raises:
        ValueError: for labels that are not the model's classes, or not one for each image.

    Examples:
        >>> for kernel in kd.explain.gradient_flow(model, images / 255, labels)[:2]:
        ...     print(kernel.path, kernel.shape)
        stem/conv_kernel (3, 3, 3, 8)
        block1/layer1_conv1_kernel (1, 1, 8, 16)
    """
    labels, classes = np.asarray(labels), model.output_shape[-1]
    fits = labels.shape == (len(images),) and labels.dtype.kind in "iu" and len(labels)
    if not fits or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels must be a whole number in 0..{classes - 1} for each image. Received: {len(images)} images with "
            f"labels {np.unique(labels)[:12].tolist()} of shape {labels.shape}"
        )
    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        outputs, _ = model.stateless_call(trainable, others, tf.convert_to_tensor(images), training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, outputs))
    gradients = tape.gradient(loss, trainable)
    found = zip(model.trainable_variables, trainable, gradients, strict=True)
    return [
        KernelGradient(
            variable.path, tuple(variable.shape), *(float(np.linalg.norm(part)) for part in (gradient, value))
        )
        for variable, value, gradient in found
        if variable.path.endswith("kernel") and gradient is not None
    ]
