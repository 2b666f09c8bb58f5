"""What is served: a model's signatures, functions of TensorFlow alone with the weights as constants in them."""

import keras
import tensorflow as tf

from keras_densenet.architecture import image_words
from keras_densenet.compat.keras import nodes_of, origin
from keras_densenet.layers import Preprocess
from keras_densenet.layers.folded import Folded
from keras_densenet.models import DenseNetModel, fold, framing_of
from keras_densenet.models.decisions import limits, thresholds_of
from keras_densenet.models.densenet import pyramid
from keras_densenet.models.flat import (
    activated,
    activation_name,
    ending,
    known_preprocessing,
    opened,
    stages,
    with_temperature,
)
from keras_densenet.models.folding import in_float32
from keras_densenet.models.graph import rebuilt
from keras_densenet.ops import wide
from keras_densenet.serving.agreement import check_precision
from keras_densenet.serving.images import DECODABLE_CHANNELS, decode_images

PIXELS = 50_000_000  # of an image file


class Served:
    """A classifier between raw pixels and labels.

    Args:
        model: a functional or sequential Keras model from one image to a `Dense` classifier.
        preprocessing: a Keras layer from raw pixels to what `model` takes, or the mode of a `layers.Preprocess`; None
            for what the model is known to need.
        labels: names of the classes. Default: the model's, or their numbers.
        top_k: how many classes `top_labels` and `top_scores` have; None for five, or all of many labels.
        levels: names of pyramid features that the signature `features` gives.
        size: `(height, width)` that encoded images are resized to; of volumes and signals, that of requests for warming
            up. Default: the model's.
        folded: whether to compute the inference form that `fold` makes.
        activation: "softmax" or "sigmoid", for a model that ends in logits.
        precision: what the folded network computes in; None is float32, or float64 where that is its own.
        max_pixels: encoded images of more are refused.
        xla: whether the network must be compiled by XLA.
        numbers: whether the answers are numbers alone, for a runtime without strings: `index` and `top_indices` instead
            of `label` and `top_labels`, 0 and 1 instead of false and true.

    Attributes:
        model: the Keras model, in float32 at least, from raw pixels to probabilities that the signatures are made from.
        precision: the name of the dtype that the network is served in.
        size: `(height, width)` of the images that reach the network from files.
        labels: names of the classes.
        activation: the name of what makes probabilities of logits.
        decisions: the model's `Decisions`, or None.
        thresholds: of many labels (a sigmoid), from which probability on each is there; otherwise None.
        signatures: `tf.function`s by name.

    Raises:
        ValueError: names what does not fit.
    """

    def __init__(
        self,
        model,
        preprocessing,
        labels,
        top_k,
        levels,
        size,
        folded,
        activation,
        *,
        precision=None,
        max_pixels=PIXELS,
        xla=False,
        numbers=False,
    ):
        model = prepared(model, preprocessing, size)
        labels = getattr(model, "labels", None) if labels is None else labels
        self.labels = _check_labels(_classifier(model)[0], labels)
        self.decisions = getattr(model, "decisions", None)
        self.model = with_temperature(activated(model, activation, required=True))
        self.levels = list(levels)
        check_precision(precision, folded)
        self.precision = precision or self.model.compute_dtype
        copy = inference_form(self.model, folded, precision)
        front, start = _front(copy)
        self._resizes, self._channels = front is not None, start.shape[-1]
        self.size = _check_size(tuple(start.shape[1:-1]), size)
        self.max_pixels, self._numbers = max_pixels, numbers
        self.framing = framing_of(self.model, None if self._resizes else self.size)

        logits, self._activation = ending(copy)
        self.activation = activation_name(self._activation)
        self.thresholds = thresholds_of(self.model) if self.activation == "sigmoid" else None
        if top_k is None:
            top_k = len(self.labels) if self.thresholds else 5
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1. Received: top_k={top_k}")
        self.top_k = min(top_k, len(self.labels))
        outputs = {"logits": logits, "embedding": _classifier(copy)[1], **pyramid(copy, self.levels)}
        self._network = tf.function(constant(keras.Model(start, outputs)), jit_compile=xla or None)
        self._front = constant(front) if self._resizes else tf.identity
        self.signatures = self._signatures()

    def _signatures(self):
        def image(dtype):
            return [tf.TensorSpec((None, *self.model.input_shape[1:]), dtype, "image")]

        found = {
            "serving_default": tf.function(self._classify_pixels, image(tf.float32)),
            "serving_uint8": tf.function(self._classify_pixels, image(tf.uint8)),
            "features": tf.function(self._features, image(tf.float32)),
        }
        if len(self.size) == 2 and self.model.input_shape[-1] in DECODABLE_CHANNELS:
            found["image_bytes"] = tf.function(self._classify_files, [tf.TensorSpec((None,), tf.string, "image_bytes")])
        return found

    def _classify_pixels(self, image):
        return self._answer(self._front(tf.cast(self._of_shape(image), tf.float32)))

    def _classify_files(self, image_bytes):
        def prepare(image):
            return self._front(tf.cast(image, tf.float32)[None])[0]

        shape = (*self.size, self._channels)
        images, ok, error = decode_images(image_bytes, self.framing, prepare, shape, self.max_pixels)
        answer = {name: _where(ok, value) for name, value in self._answer(images).items()}
        return {**answer, "ok": ok, "error": error}

    def _features(self, image):
        found = self._network(self._front(self._of_shape(image)))
        return {name: wide(found[name]) for name in ("embedding", *self.levels)}

    def _of_shape(self, image):
        return tf.ensure_shape(image, (None, *self.model.input_shape[1:]))  # the server does not check it

    def _answer(self, prepared):
        logits = tf.cast(self._network(prepared)["logits"], tf.float32)
        probabilities = self._activation(logits)
        scores, indexes = tf.math.top_k(probabilities, self.top_k)
        labels = indexes if self._numbers else tf.gather(self.labels, indexes)
        one, several = ("index", "top_indices") if self._numbers else ("label", "top_labels")
        positive = {}
        if self.thresholds:
            reached = tf.cast(probabilities >= limits(self.thresholds), tf.uint8 if self._numbers else tf.bool)
            positive = {"positive": reached, "top_positive": tf.gather(reached, indexes, batch_dims=1)}
        return {
            "probabilities": probabilities,
            "logits": logits,
            one: labels[:, 0],
            "score": scores[:, 0],
            several: labels,
            "top_scores": scores,
            **positive,
        }

    def answers_of_keras(self, images):
        """What Keras itself computes from raw images: a dict of probabilities and embedding."""
        found = {"probabilities": self.model.output, "embedding": _classifier(self.model)[1]}
        answers = keras.Model(self.model.input, found)(images, training=False)
        return {name: answer.numpy() for name, answer in answers.items()}


def _where(ok, value):
    """Zeros and empty strings in the rows that are not ok."""
    return tf.where(tf.reshape(ok, [-1] + [1] * (len(value.shape) - 1)), value, tf.zeros_like(value))


def _classifier(model):
    """The `Dense` layer that a flat model ends in, but for operations on its output alone, and its input."""
    tensor = model.outputs[0]
    while True:
        layer, before = origin(tensor)
        if isinstance(layer, keras.layers.Dense) and len(tensor.shape) == 2:
            return layer, before[0]
        if len(before) != 1:
            raise ValueError(
                "Export takes a model from one image to a Dense classifier; reset_classifier makes one. "
                f"Received: {model.name!r}, with an output of shape {model.output_shape}"
            )
        (tensor,) = before


def _check_labels(classifier, labels):
    labels = range(classifier.units) if labels is None else labels
    if isinstance(labels, str) or len(labels) != classifier.units:
        raise ValueError(f"labels must be a list of {classifier.units} names, one a class. Received: {len(labels)}")
    return [str(label) for label in labels]


def _check_size(own, size):
    if None in own and size is None:
        sides = ", ".join(("depth", "height", "width")[-len(own) :]) if len(own) > 1 else "length,"
        what = "files are resized to" if len(own) == 2 else "the requests for warming up have"
        raise ValueError(f"The model takes {image_words(len(own))[0]}s of any size: give size=({sides}), which {what}")
    if size is None:
        return own
    size = tuple(size)
    if len(size) != len(own) or any(length not in (None, given) for length, given in zip(own, size, strict=True)):
        raise ValueError(f"size must be left out or fit the model's {own}. Received: size={size}")
    return size


def prepared(model, preprocessing, size=None):
    """A model of the same weights from raw pixels to the model's one output, opened (see `models.flat`).

    It computes in float32 at least, whatever the model was trained in. Without `preprocessing` the network inside gets
    the one of its weights, if that is known and nothing of the kind is in front of it yet. A mode is a `Preprocess`
    that resizes, to `size` where the model takes any.
    """
    model = in_float32(opened(model))
    if len(model.inputs) != 1 or len(model.input_shape) not in (3, 4, 5):
        raise ValueError(
            "Export takes a model of one batch of images (batch, height, width, channels), signals or volumes. "
            f"Received: {model.name!r} of {model.input_shape}"
        )
    if len(model.outputs) != 1:
        raise ValueError(
            "Export takes a model with one output: give keras.Model(model.input, output) for each of them. "
            f"Received: {model.name!r} with {len(model.outputs)} outputs"
        )
    if preprocessing is None:
        return known_preprocessing(model, size)
    *own_size, channels = model.input_shape[1:]
    if isinstance(preprocessing, (str, dict)):
        if len(own_size) != 2:  # nothing resizes signals and volumes
            size = None
        elif None not in own_size:
            size = size or own_size
        if isinstance(model, DenseNetModel):
            return model.with_preprocessing(preprocessing, size)
        preprocessing = Preprocess(preprocessing, size, dimensions=len(own_size), name="preprocess")
    any_size = [None] * len(own_size)
    given = preprocessing.compute_output_shape((None, *any_size, channels))[1:-1]
    image = keras.Input((*(any_size if None not in given else own_size), channels), name="image")
    return rebuilt(model, type(model), front=preprocessing, image=image)


def inference_form(model, folded, precision=None):
    """A copy of a flat model, folded where there is something to fold, and computing in a precision if one is given."""
    return fold(model, precision) if folded and (precision or not stages(model, Folded)) else opened(model)


def _front(model):
    """The part that brings images of any size to one, and the tensor that the network starts from; None, the input."""
    tensor, nodes = model.input, nodes_of(model)
    while len(tensor.shape) == len(model.input.shape) and None in tensor.shape[1:-1]:
        readers = [node for node in nodes if any(x is tensor for x in node.input_tensors)]
        if len(readers) != 1 or len(readers[0].input_tensors) != 1:
            return None, model.input
        (tensor,) = readers[0].output_tensors
    if tensor is model.input or len(tensor.shape) != len(model.input.shape):
        return None, model.input
    return keras.Model(model.input, tensor), tensor


def constant(model):
    """The model's function with its weights as constants, which the server's kernels prepare once and share."""
    trainable, others = (
        [v.numpy() for v in part] for part in (model.trainable_variables, model.non_trainable_variables)
    )

    def run(x):
        weights = [[tf.constant(value) for value in part] for part in (trainable, others)]
        return model.stateless_call(*weights, x, training=False)[0]

    return run
