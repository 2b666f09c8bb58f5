"""What surrounds a network of ImageNet in `keras.applications`: pixels to its input, outputs to names."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_densenet import ops
from keras_densenet.architecture import check_count
from keras_densenet.types import Mode, Tensor


def preprocess_input(x: Tensor, mode: Mode = "torch") -> Tensor:
    """Brings raw pixels into the convention that a network's weights were trained with.

    Args:
        x: pixels in 0..255 (a resize may have overshot), `(..., channels)`, an array or a tensor; left as it is. What
            its values are is not looked at: in a graph they are not known yet.
        mode: "torch" (as `keras.applications.densenet`, torchvision and timm), "caffe", "unit" or
            `{"mean": ..., "std": ...}`; see `layers.Preprocess`.

    Returns:
        float32, an array for an array and a tensor for a tensor.

    Raises:
        ValueError: for another mode or other channels.

    Examples:
        >>> kd.preprocess_input(np.full((1, 1, 1, 3), 255), mode="unit").tolist()
        [[[[1.0, 1.0, 1.0]]]]
    """
    ops.check_channels(mode, x.shape[-1])
    pixels = x.astype("float32") if isinstance(x, np.ndarray) else keras.ops.cast(x, "float32")
    return ops.normalise(pixels, mode)


def decode_predictions(
    predictions: Tensor, top: int = 5, labels: Sequence[str] | None = None
) -> list[list[tuple[Any, str, float]]]:
    """Names the most probable classes.

    Args:
        predictions: `(images, classes)`, an array or a tensor.
        top: how many classes to name, all where there are fewer.
        labels: the names of the classes, such as `model.labels`; a class of the name "" is left out, as published
            weights call outputs that were not trained. Default: ImageNet's, whose list Keras downloads once.

    Returns:
        For every image a list of `(class id, name, score)`, the best first; ids are WordNet's for ImageNet and the
        class's number for `labels`.

    Raises:
        ValueError: if there is not one label for each class, or for another `top`.
        OSError: if ImageNet's list is not there and cannot be downloaded.

    Examples:
        >>> probabilities = np.array([[0.1, 0.7, 0.2]])
        >>> for number, name, score in kd.decode_predictions(probabilities, top=2, labels=["cat", "dog", "frog"])[0]:
        ...     print(number, name, score)
        1 dog 0.7
        2 frog 0.2
    """
    check_count("top", top)
    predictions = keras.ops.convert_to_numpy(predictions)
    count = 1000 if labels is None else len(labels)
    if predictions.ndim != 2 or predictions.shape[1] != count:
        raise ValueError(
            f"predictions must be (images, {count}), one column per label; give labels for classes other than "
            f"ImageNet's. Received: shape {predictions.shape}"
        )
    if labels is not None:
        named = np.array([i for i, label in enumerate(labels) if label != ""], int)
        best = named[np.argsort(-predictions[:, named], 1, kind="stable")[:, :top]]
        return [[(int(i), labels[i], row[i]) for i in order] for order, row in zip(best, predictions, strict=True)]
    try:
        return keras.applications.imagenet_utils.decode_predictions(predictions, top)
    except Exception as error:  # what Keras raises where a download fails
        raise OSError(
            "ImageNet's class names could not be downloaded: put imagenet_class_index.json into Keras' folder "
            f"(~/.keras, or KERAS_HOME) under models/, or give labels. {error}"
        ) from None
