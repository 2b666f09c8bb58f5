"""What training makes small: cross-entropies with class weights, focal or not, that leave unknown labels out."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_densenet.types import Tensor


class _CrossEntropy(keras.losses.Loss):
    """What both losses are: subclasses have `totals`, from which a batch's mean follows."""

    def __init__(
        self,
        weights: Sequence[float] | None = None,
        gamma: float = 0.0,
        label_smoothing: float = 0.0,
        from_logits: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if gamma < 0:
            raise ValueError(f"gamma must not be negative. Received: gamma={gamma}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1). Received: label_smoothing={label_smoothing}")
        self.weights = None if weights is None else [float(weight) for weight in weights]
        self.gamma, self.label_smoothing, self.from_logits = float(gamma), float(label_smoothing), from_logits

    def totals(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of each image over its known labels, three tensors `(batch,)`: losses, right answers, and their number.

        A class an image is one label, known, and right where the class is the most probable.
        """
        raise NotImplementedError

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        losses, _, counts = self.totals(y_true, y_pred)
        return losses / tf.maximum(tf.reduce_mean(counts), keras.config.epsilon())

    def get_config(self) -> dict[str, Any]:
        names = ("weights", "gamma", "label_smoothing", "from_logits")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _focal(self, losses, of_truth):
        """Losses times `(1 - of_truth)**gamma`, where `of_truth` is the probability of what is true."""
        if not self.gamma:
            return losses
        return losses * tf.maximum(1 - of_truth, keras.config.epsilon()) ** self.gamma  # below, 0**gamma has no slope

    def _weights_like(self, y_pred):
        if len(self.weights) != y_pred.shape[-1]:
            raise ValueError(f"weights must be {y_pred.shape[-1]}, one a label. Received: {len(self.weights)} weights")
        return tf.constant(self.weights, y_pred.dtype)


@keras.saving.register_keras_serializable("keras_densenet")
class BinaryCrossentropy(_CrossEntropy):
    """Cross-entropy of labels that are there (1), not there (0) or unknown (-1), each independent of the others.

    It is the mean over all labels of a batch that are known: each of them counts alike, however many are unknown in its
    image or elsewhere, and unknown ones have no gradient. With label y, its weight w and probability p, that of a label
    is `-w y (1 - p)**gamma log p - (1 - y) p**gamma log(1 - p)`.

    Under a `tf.distribute` strategy and `fit` the mean is that of each replica's labels; `training.train` takes that of
    all.

    Args:
        weights: what a label that is there counts by label, against 1 where it is not; None for 1.
        gamma: how much less counts what is nearly right, see above; 2 in the paper on focal loss, 0 for none.
        label_smoothing: s; a label y becomes `y * (1 - s) + s / 2`.
        from_logits: whether predictions are logits, not probabilities.
        name, **kwargs: as for `keras.losses.Loss`.

    Call arguments:
        y_true: `(batch, labels)`; `(batch,)` where there is one label.
        y_pred: `(batch, labels)`.

    Examples:
        >>> loss = kd.training.BinaryCrossentropy(weights=[3.0, 9.0])
        >>> round(float(loss([[1, -1], [0, -1]], [[0.5, 0.1], [0.5, 0.9]])), 4)  # the second label is unknown
        1.3863

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """

    def totals(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        predicted = tf.convert_to_tensor(y_pred)
        truth = tf.reshape(tf.cast(y_true, predicted.dtype), tf.shape(predicted))
        known = tf.cast(truth >= 0, predicted.dtype)
        there = truth * known
        smooth = there * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = keras.ops.binary_crossentropy(smooth, predicted, self.from_logits)
        probabilities = tf.sigmoid(predicted) if self.from_logits else predicted
        losses = self._focal(losses, there * probabilities + (1 - there) * (1 - probabilities))
        if self.weights is not None:
            losses *= 1 + there * (self._weights_like(predicted) - 1)
        right = tf.cast((probabilities > 0.5) == (truth > 0.5), predicted.dtype)
        losses, right, counts = (tf.reduce_sum(x, -1) for x in (losses * known, right * known, known))
        return losses, right, counts


@keras.saving.register_keras_serializable("keras_densenet")
class CategoricalCrossentropy(_CrossEntropy):
    """Cross-entropy of one class an image, the mean over a batch's images.

    With the class' weight w and its probability p the loss of an image is `-w (1 - p)**gamma log p`; of a mixed label,
    w and p are those of its classes by their shares.

    Args:
        weights: what an image counts by its class; None for 1.
        gamma: how much less counts what is nearly right, see above; 2 in the paper on focal loss, 0 for none.
        label_smoothing: share of a label that is given to all classes alike.
        from_logits: whether predictions are logits, not probabilities.
        name, **kwargs: as for `keras.losses.Loss`.

    Call arguments:
        y_true: ints `(batch,)` or `(batch, 1)`, or shares `(batch, classes)`.
        y_pred: `(batch, classes)`.

    Examples:
        >>> loss = kd.training.CategoricalCrossentropy(weights=[1.0, 3.0])
        >>> round(float(loss([0, 1], [[0.5, 0.5], [0.5, 0.5]])), 4)
        1.3863

    Source: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """

    def totals(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        predicted, truth = tf.convert_to_tensor(y_pred), tf.convert_to_tensor(y_true)
        classes = predicted.shape[-1]
        if truth.shape.rank != 2 or truth.shape[-1] != classes:
            truth = tf.one_hot(tf.reshape(tf.cast(truth, tf.int32), (-1,)), classes, dtype=predicted.dtype)
        truth = tf.cast(truth, predicted.dtype)
        smooth = truth * (1 - self.label_smoothing) + self.label_smoothing / classes
        losses = keras.ops.categorical_crossentropy(smooth, predicted, self.from_logits)
        probabilities = tf.nn.softmax(predicted) if self.from_logits else predicted
        losses = self._focal(losses, tf.reduce_sum(truth * probabilities, -1))
        if self.weights is not None:
            losses *= tf.reduce_sum(truth * self._weights_like(predicted), -1)
        right = tf.cast(tf.argmax(truth, -1) == tf.argmax(predicted, -1), predicted.dtype)
        return losses, right, tf.ones_like(losses)


@keras.saving.register_keras_serializable("keras_densenet")
class KnownAccuracy(keras.metrics.Mean):
    """Share of the labels that are known whose probability is on their side of a threshold; see `BinaryCrossentropy`.

    Args:
        name, dtype: as for `keras.metrics.Metric`.
        threshold: on what is predicted: 0.5 for probabilities, 0 for logits.

    Examples:
        >>> metric = kd.training.KnownAccuracy()
        >>> float(metric([[1, -1], [0, -1]], [[0.9, 0.1], [0.7, 0.9]]))
        0.5
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Any:
        predicted = tf.convert_to_tensor(y_pred)
        truth = tf.reshape(tf.cast(y_true, predicted.dtype), tf.shape(predicted))
        weights = tf.cast(truth >= 0, self.dtype)
        if sample_weight is not None:
            weights *= tf.reshape(tf.cast(sample_weight, self.dtype), (-1, 1))
        right = tf.cast((predicted > self.threshold) == (truth > 0.5), self.dtype)
        return super().update_state(right, sample_weight=weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}
