"""Transfer learning: a network that knows other images learns new classes from few."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_densenet.models import DenseNetModel


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
        ValueError: for a stage that the model does not have.
    """
    stages = [stage.name for stage in model.architecture.stages]
    if until not in (None, "all", *stages):
        raise ValueError(f'until must be None, "all" or one of {", ".join(stages)}. Received: until={until!r}')
    count = 0 if until is None else len(stages) if until == "all" else stages.index(until) + 1
    model.trainable = True
    for index, name in enumerate(stages):
        model.get_layer(name).trainable = index >= count
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
    in both.

    Args:
        model: a `DenseNetModel` with trained weights and, from `reset_classifier`, a new classifier.
        train_data: a `tf.data.Dataset` of `(images, labels)` in batches of one size.
        validation_data: the same, of images that are not trained on.
        until: what stays frozen in the second phase, as in `freeze`.
        head_epochs: of the first phase at most.
        epochs: of the second phase at most; 0 leaves the backbone as it was.
        learning_rate: of the first phase.
        weight_decay: of AdamW.
        patience: epochs without a lower validation loss after which a phase ends.
        loss: as in `compile`. Default: cross-entropy with integer labels.
        steps_per_epoch: batches in an epoch, needed where `train_data` does not end.
        jit_compile: whether to compile with XLA. For a few hundred steps of a large network the compilation, about a
            minute for DenseNet-121, can take longer than it saves.
        callbacks: further Keras callbacks, for both phases.
        verbose: as in `fit`.

    Returns:
        A dict of lists, one value for every epoch of both phases, as a Keras history has.

    Raises:
        ValueError: if the model has no classifier, an argument is out of range, or no such stage exists.
        RuntimeError: if the loss stops being a number.

    Example:
        >>> model = source.reset_classifier(classes=5)
        >>> history = keras_densenet.fine_tune(model, train_data, validation_data, until="block2")
    """
    if model.architecture.classes is None:
        raise ValueError(f"The model must end in a classifier, see reset_classifier. Received: {model.name!r}")
    for name, value in {"head_epochs": head_epochs, "epochs": epochs}.items():
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be a whole number >= 0. Received: {name}={value!r}")
    freeze(model, until)  # refuses an unknown stage before anything trains
    if loss is None:
        logits = model.layers[-1].activation is keras.activations.linear
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    history: dict[str, list[float]] = {}
    best, weights = float("inf"), model.get_weights()
    for frozen, count, rate in (("all", head_epochs, learning_rate), (until, epochs, learning_rate / 10)):
        if not count:
            continue
        optimizer = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
        freeze(model, frozen).compile(optimizer, loss, weighted_metrics=["accuracy"], jit_compile=jit_compile)
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
