"""How strongly the loss' gradient reaches each layer."""

import keras
import numpy as np
import tensorflow as tf


def gradient_flow(model, images, labels):
    """Computes the norm of the gradient that reaches each convolution and dense kernel in a training step.

    Of a DenseNet of this package this is the hand-written gradient. The model is left as it was: neither weights nor
    moving statistics change.

    Args:
        model: any built `keras.Model` from images to class probabilities.
        images: a batch `(batch, height, width, channels)` as the model takes it.
        labels: `(batch,)` integers.

    Returns:
        A list of `(path, kernel shape, norm)` for every trainable kernel, from the first layer to the last; the norm is
        that of the gradient of the mean cross-entropy, over the whole kernel.

    Example:
        >>> for path, shape, norm in keras_densenet.explain.gradient_flow(model, images, labels):
        ...     print(path, norm)
    """
    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(trainable)
        outputs, _ = model.stateless_call(trainable, others, tf.convert_to_tensor(images), training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, outputs))
    gradients = tape.gradient(loss, trainable)
    return [
        (variable.path, tuple(variable.shape), float(np.linalg.norm(gradient.numpy())))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if variable.path.endswith("kernel") and gradient is not None
    ]
