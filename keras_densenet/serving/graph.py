"""What is served: a model's signatures, functions of TensorFlow alone with the weights as constants in them."""

import keras
import tensorflow as tf

from keras_densenet.layers import Preprocess
from keras_densenet.models import DenseNetModel, fold, framing_of
from keras_densenet.serving.images import DECODABLE_CHANNELS, decode_images


class Served:
    """A classifier between raw pixels and labels.

    Args:
        model: a functional Keras model with one image input that ends in a `Dense` classifier.
        preprocessing: a Keras layer from raw pixels to what `model` takes, or the mode of a `layers.Preprocess`; None
            for what the model is known to need.
        labels: names of the classes. Default: their numbers.
        top_k: how many classes `top_labels` and `top_scores` have.
        levels: names of pyramid features that the signature `features` gives.
        size: `(height, width)` that encoded images are resized to. Default: the model's.
        max_pixels: encoded images of more are refused.
        folded: whether to compute the inference form that `fold` makes.
        xla: whether the network must be compiled by XLA.

    Attributes:
        model: the Keras model from raw pixels to probabilities that the signatures are made from.
        size: `(height, width)` of the images that reach the network from files.
        labels: names of the classes.
        signatures: `tf.function`s by name.

    Raises:
        ValueError: names what does not fit.
    """

    def __init__(self, model, preprocessing, labels, top_k, levels, size, max_pixels, folded, xla):
        self.model = put_in_front(preprocessing, model, size)
        self.labels = _check_labels(model, labels)
        if top_k < 1:
            raise ValueError(f"top_k must be at least 1. Received: top_k={top_k}")
        self.top_k, self.levels = min(top_k, len(self.labels)), list(levels)
        copy = fold(self.model) if folded else copy_of(self.model)
        front, start = _front(copy)
        self._resizes = front is not None
        self.size = _check_size(tuple(start.shape[1:3]), size)
        self.max_pixels = max_pixels
        self.framing = framing_of(self.model, None if self._resizes else self.size)

        classifier = copy.layers[-1]
        self._activation, classifier.activation = classifier.activation, keras.activations.linear
        outputs = {"logits": classifier.output, "embedding": classifier.input, **_pyramid(copy, self.levels)}
        self._network = tf.function(_constant(keras.Model(start, outputs)), jit_compile=xla or None)
        self._front = _constant(front) if self._resizes else tf.identity
        self.signatures = self._signatures()

    def _signatures(self):
        def image(dtype):
            return [tf.TensorSpec((None, *self.model.input_shape[1:]), dtype, "image")]

        found = {
            "serving_default": tf.function(self._classify_pixels, image(tf.float32)),
            "serving_uint8": tf.function(self._classify_pixels, image(tf.uint8)),
            "features": tf.function(self._features, image(tf.float32)),
        }
        if self.model.input_shape[-1] in DECODABLE_CHANNELS:
            found["image_bytes"] = tf.function(self._classify_files, [tf.TensorSpec((None,), tf.string, "image_bytes")])
        return found

    def _classify_pixels(self, image):
        return self._answer(self._front(tf.cast(self._of_shape(image), tf.float32)))

    def _classify_files(self, image_bytes):
        def prepare(image):
            return self._front(tf.cast(image, tf.float32)[None])[0]

        shape = (*self.size, self.model.input_shape[-1])
        images, ok, error = decode_images(image_bytes, self.framing, prepare, shape, self.max_pixels)
        answer = {name: _where(ok, value) for name, value in self._answer(images).items()}
        return {**answer, "ok": ok, "error": error}

    def _features(self, image):
        found = self._network(self._front(self._of_shape(image)))
        return {name: found[name] for name in ("embedding", *self.levels)}

    def _of_shape(self, image):
        return tf.ensure_shape(image, (None, *self.model.input_shape[1:]))  # the server does not check it

    def _answer(self, prepared):
        logits = tf.cast(self._network(prepared)["logits"], tf.float32)
        probabilities = self._probabilities(logits)
        scores, indexes = tf.math.top_k(probabilities, self.top_k)
        labels = tf.gather(self.labels, indexes)
        return {
            "probabilities": probabilities,
            "logits": logits,
            "label": labels[:, 0],
            "score": scores[:, 0],
            "top_labels": labels,
            "top_scores": scores,
        }

    def _probabilities(self, logits):
        if self._activation is not keras.activations.linear:
            return self._activation(logits)
        return tf.nn.softmax(logits) if len(self.labels) > 1 else tf.sigmoid(logits)

    def answers_of_keras(self, images):
        """What Keras itself computes from raw images: a dict of probabilities and embedding."""
        copy = copy_of(self.model)
        network = keras.Model(copy.input, [copy.layers[-1].input, copy.output])
        embedding, output = (part.numpy() for part in network(images, training=False))
        is_logits = self._activation is keras.activations.linear
        return {"probabilities": self._probabilities(output).numpy() if is_logits else output, "embedding": embedding}


def _where(ok, value):
    """Zeros and empty strings in the rows that are not ok."""
    return tf.where(tf.reshape(ok, [-1] + [1] * (len(value.shape) - 1)), value, tf.zeros_like(value))


def _check_labels(model, labels):
    classifier = getattr(model, "layers", [None])[-1]
    if not isinstance(classifier, keras.layers.Dense) or len(model.inputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(
            "Export takes a functional model from one image to a Dense classifier; reset_classifier makes one. "
            f"Received: {getattr(model, 'name', model)!r}"
        )
    labels = range(classifier.units) if labels is None else labels
    if isinstance(labels, str) or len(labels) != classifier.units:
        raise ValueError(f"labels must be a list of {classifier.units} names, one a class. Received: {len(labels)}")
    return [str(label) for label in labels]


def _check_size(own, size):
    if None in own and size is None:
        raise ValueError("The model takes images of any size: give size=(height, width), which files are resized to")
    if size is None:
        return own
    size = tuple(size)
    if len(size) != 2 or any(length != given for length, given in zip(own, size, strict=True) if length is not None):
        raise ValueError(f"size must be left out or fit the model's {own}. Received: size={size}")
    return size


def put_in_front(preprocessing, model, resized=None):
    """The layer and the model's own layers as one functional model; a mode is a `Preprocess` that resizes.

    Without one it is the mode of the weights, if that is known and nothing of the kind is in front of the model yet.
    """
    is_ours = isinstance(model, DenseNetModel)
    if preprocessing is None and is_ours and not model.is_preprocessed:
        preprocessing = model.preprocessing
    if preprocessing is None:
        return model
    *size, channels = model.input_shape[1:]
    if isinstance(preprocessing, (str, dict)):
        resized = resized or (None if None in size else size)
        if is_ours:
            return model.with_preprocessing(preprocessing, resized)
        preprocessing = Preprocess(preprocessing, resized, name="preprocess")
    given = preprocessing.compute_output_shape((None, None, None, channels))[1:3]
    image = keras.Input((*([None, None] if None not in given else size), channels), name="image")
    outputs = []

    def call(layer, *args, **options):
        outputs.append(layer(*args, **options))
        return outputs[-1]

    keras.models.clone_model(model, preprocessing(image), clone_function=lambda layer: layer, call_function=call)
    return type(model)(image, outputs[-1], name=model.name)


def copy_of(model):
    """The same model with layers of its own."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _front(model):
    """The model's first layer, if it brings images of any size to one, and the tensor that its network starts from."""
    first = model.layers[1]
    if None in model.input_shape[1:3] and None not in first.output.shape[1:3]:
        return keras.Model(model.input, first.output), first.output
    return None, model.input


def _pyramid(model, levels):
    if not levels:
        return {}
    outputs = model.pyramid_outputs
    if unknown := [level for level in levels if level not in outputs]:
        raise ValueError(f"levels must be among {', '.join(outputs)}. Received: {', '.join(map(str, unknown))}")
    return {level: outputs[level] for level in levels}


def _constant(model):
    """The model's function with its weights as constants, which the server's kernels prepare once and share."""
    trainable, others = (
        [v.numpy() for v in part] for part in (model.trainable_variables, model.non_trainable_variables)
    )

    def run(x):
        weights = [[tf.constant(value) for value in part] for part in (trainable, others)]
        return model.stateless_call(*weights, x, training=False)[0]

    return run
