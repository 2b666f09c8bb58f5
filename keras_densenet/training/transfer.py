"""Transfer learning: a network that knows other images learns new classes from few."""

import contextlib
import re
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.models import DenseNetModel
from keras_densenet.training.losses import BinaryCrossentropy, CategoricalCrossentropy, KnownAccuracy


def freeze(model: DenseNetModel, until: str | None = "all") -> DenseNetModel:
    """Freezes a DenseNet up to a stage and unfreezes the rest.

    Frozen layers normalise with their moving statistics and change neither them nor their weights. A compiled model
    must be compiled again; models that share the weights are frozen with it.

    Args:
        model: a `DenseNetModel`.
        until: the last frozen stage, such as "stem", "transition1" or "block3"; "all" for everything but the
            classifier, None for nothing.

    Returns:
        `model`.

    Raises:
        ValueError: for a stage that the model does not have, or another kind of model.

    Examples:
        >>> kd.freeze(model, "transition1").get_layer("block1").trainable
        False
    """
    _check_kind(model)
    stages = {name: layer for name, layer in model.stages.items() if name != "classifier"}
    if until not in (None, "all", *stages):
        raise ValueError(f'until must be None, "all" or one of {", ".join(stages)}. Received: until={until!r}')
    count = 0 if until is None else len(stages) if until == "all" else [*stages].index(until) + 1
    model.trainable = True
    for index, layer in enumerate(stages.values()):
        layer.trainable = index >= count
    return model


def fine_tune(
    model: DenseNetModel,
    train_data: tf.data.Dataset,
    validation_data: tf.data.Dataset,
    *,
    until: str | None = None,
    head_epochs: int = 5,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    patience: int = 3,
    loss: str | keras.losses.Loss | None = None,
    steps_per_epoch: int | None = None,
    jit_compile: bool = True,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: str | int = "auto",
) -> dict[str, list[float]]:
    """Trains the classifier on the frozen backbone, then the network at a tenth of the rate; keeps the best weights.

    Both phases use AdamW and stop early. The weights at the end are those of the epoch with the lowest validation loss
    in both. If anything fails or interrupts it, the model has the weights and the frozen layers that it had before.

    Args:
        model: a `DenseNetModel` with trained weights and, from `reset_classifier`, a new classifier.
        train_data: a `tf.data.Dataset` of `(images, labels)` in batches of one size, or of `(images, labels, weights)`.
        validation_data: the same, of images that are not trained on.
        until: what stays frozen in the second phase, as in `freeze`.
        head_epochs: of the first phase at most.
        epochs: of the second phase at most; 0 leaves the backbone as it was.
        learning_rate: of the first phase.
        weight_decay: of AdamW.
        patience: epochs without a lower validation loss after which a phase ends.
        loss: as in `compile`. Default: cross-entropy with integer labels 0..classes - 1; of one output, or of a
            classifier of sigmoids, `BinaryCrossentropy` with labels 0, 1 and -1 for unknown, `(batch, classes)`.
        steps_per_epoch: batches in an epoch, needed where `train_data` does not end.
        jit_compile: whether to compile with XLA. For a few hundred steps of a large network the compilation, about a
            minute for DenseNet-121, can take longer than it saves.
        callbacks: further Keras callbacks, for both phases.
        verbose: as in `fit`.

    Returns:
        A dict of lists, one value for every epoch of both phases, as a Keras history has.

    Raises:
        ValueError: if the model has no classifier, an argument is out of range, no such stage exists, or a label is
            none of the classes.
        RuntimeError: if the loss stops being a number.

    Examples:
        >>> model = model.reset_classifier(classes=2)
        >>> batches = tf.data.Dataset.from_tensors((images / 255, labels % 2))
        >>> short = {"head_epochs": 1, "epochs": 1, "jit_compile": False, "verbose": 0}
        >>> history = kd.fine_tune(model, batches, batches, until="block1", **short)
        >>> len(history["val_loss"])  # of both phases
        2
    """
    _check_kind(model)
    if model.architecture.classes is None:
        raise ValueError(f"The model must end in a classifier, see reset_classifier. Received: {model.name!r}")
    for name, value in {"head_epochs": head_epochs, "epochs": epochs}.items():
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be a whole number >= 0. Received: {name}={value!r}")
    activation, many = model.layers[-1].activation, isinstance(loss, BinaryCrossentropy)
    logits = activation is keras.activations.linear
    if loss is None and model.architecture.classes == 1 and activation is keras.activations.softmax:
        raise ValueError('A softmax over one output is always 1: call reset_classifier(1, "sigmoid"), or (2) for two')
    if loss is None:
        many = model.architecture.classes == 1 or activation is keras.activations.sigmoid
        kind = BinaryCrossentropy if many else keras.losses.SparseCategoricalCrossentropy
        loss = kind(from_logits=logits)
    accuracy = KnownAccuracy(threshold=0.0 if logits else 0.5) if many else "accuracy"
    train_data = _checked("train_data", train_data, loss, model.architecture.classes, steps_per_epoch is not None)
    validation_data = _checked("validation_data", validation_data, loss, model.architecture.classes)
    with _put_back_on_failure(model):
        freeze(model, until)  # refuses an unknown stage before anything trains
        history: dict[str, list[float]] = {}
        best, weights = float("inf"), model.get_weights()
        for frozen, count, rate in (("all", head_epochs, learning_rate), (until, epochs, learning_rate / 10)):
            if not count:
                continue
            optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
            freeze(model, frozen).compile(optimizer, loss, weighted_metrics=[accuracy], jit_compile=jit_compile)
            phase = model.fit(
                train_data,
                validation_data=validation_data,
                epochs=count,
                steps_per_epoch=steps_per_epoch,
                shuffle=False,
                callbacks=[
                    keras.callbacks.TerminateOnNaN(raise_error=True),
                    keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True),
                    *callbacks,
                ],
                verbose=verbose,
            ).history
            for name, values in phase.items():
                history[name] = history.get(name, []) + values
            if min(phase["val_loss"]) < best:
                best, weights = min(phase["val_loss"]), model.get_weights()
        model.set_weights(weights)
    return history


def _check_kind(model):
    if not isinstance(model, DenseNetModel):
        raise ValueError(
            "model must be a DenseNetModel; of a model around one keras_densenet.explain.flat makes one that shares "
            f"its layers. Received: {type(model).__name__} {getattr(model, 'name', '')!r}"
        )


def _checked(name, data, loss, classes, endless=False):
    """The data, of which each batch's labels are checked before the loss sees them."""
    if not isinstance(data, tf.data.Dataset):
        raise ValueError(
            f"{name} must be a tf.data.Dataset of (images, labels) in batches; of arrays "
            "tf.data.Dataset.from_tensor_slices((images, labels)).batch(32) makes one. "
            f"Received: {type(data).__name__}"
        )
    if not data.cardinality():
        raise ValueError(f"{name} must have a batch. Received: an empty data set")
    if data.cardinality() == tf.data.INFINITE_CARDINALITY and not endless:
        advice = "give steps_per_epoch" if name == "train_data" else "use take(batches)"
        raise ValueError(f"{name} must end: {advice}. Received: an endless data set")
    spec = data.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or spec[0].shape.rank not in (None, 4):
        raise ValueError(f"{name} must give batches of (images, labels). Received: {spec}")
    shape, known, many = spec[1].shape, keras.losses.get(loss), isinstance(loss, BinaryCrossentropy)
    function, ignored = getattr(known, "fn", known), getattr(known, "get_config", dict)().get("ignore_class")
    shares = (shape.rank, shape[-1:]) == (2, [classes])  # of classes, which CategoricalCrossentropy takes, too
    sparse = function is keras.losses.sparse_categorical_crossentropy
    sparse = sparse or (isinstance(loss, CategoricalCrossentropy) and not shares)
    binary = function is keras.losses.binary_crossentropy
    if not (sparse or binary or many) or ignored is not None:
        return data
    highest, columns = classes - 1 if sparse else 1, classes if many else 1
    fits = binary or shape.rank is None or (shape.rank == 2 and shape[-1] in (None, columns))
    fits = fits or (shape.rank == 1 and columns == 1)
    if not fits or not (spec[1].dtype.is_integer or spec[1].dtype.is_floating):
        wanted = f"(batch, {classes})" if columns > 1 else "(batch,)"
        raise ValueError(
            f"The labels of {name} must be numbers {wanted}, or give a loss of your own. Received: {spec[1]}"
        )

    def check(images, labels, *weights):
        values = tf.cast(labels, tf.int64) if labels.dtype.is_integer else labels
        low, high = tf.reduce_min(values), tf.reduce_max(values)
        right = (low >= tf.cast(-1 if many else 0, low.dtype)) & (high <= tf.cast(highest, high.dtype))
        unknown = ", or -1 where unknown," if many else ""
        told = f"The labels of {name} must be in 0..{highest}{unknown} for this model"
        with tf.control_dependencies([tf.debugging.Assert(right, [told, low, high])]):
            return images, tf.identity(labels), *weights

    return data.map(check)


@contextlib.contextmanager
def _put_back_on_failure(model):
    """Gives a model its weights and frozen layers back if the block fails, and tells why in one sentence."""
    weights, frozen = model.get_weights(), [(layer, layer.trainable) for layer in (model, *model.layers)]
    if not all(np.isfinite(weight).all() for weight in weights):
        raise ValueError(
            f"The weights of {model.name!r} must be finite before training, and some are not: load them anew"
        )
    try:
        yield
    except BaseException as error:
        model.set_weights(weights)
        for layer, trainable in frozen:
            layer.trainable = trainable
        if told := re.search(r"\[(The labels of .+?)\] \[(.+?)\] \[(.+?)\]", str(error)):
            raise ValueError("{}. Received: labels from {} to {}".format(*told.groups())) from None
        if str(error).startswith("NaN or Inf loss"):
            raise RuntimeError(
                "The loss stopped being a number, and the model is as it was: give a lower learning_rate, or images "
                "and sample weights that are finite"
            ) from None
        raise
