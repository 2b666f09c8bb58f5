"""Freezing and fine-tuning."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests.oracle import images_like
from tests.tiny import network

STAGES = ["stem", "block1", "transition1", "block2", "head"]
IMAGES = images_like((8, 9, 8, 3), "float32")
LABELS = np.arange(8) % 5
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS))


def small(**options):
    return network(blocks=(1, 1), **options)


@pytest.mark.parametrize(
    ("until", "frozen"),
    [(None, 0), ("stem", 1), ("block1", 2), ("transition1", 3), ("block2", 4), ("head", 5), ("all", 5)],
)
def test_stages_up_to_the_named_one_are_frozen_and_the_rest_is_not(until, frozen):
    model = small()
    kd.freeze(model, "all")
    assert kd.freeze(model, until) is model
    assert [model.get_layer(stage).trainable for stage in STAGES] == [False] * frozen + [True] * (5 - frozen)
    assert model.get_layer("classifier").trainable


def test_frozen_stages_keep_weights_and_statistics_in_training():
    model = kd.freeze(small(), "block1")
    before = {variable.path: variable.numpy() for variable in model.weights}
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(DATA, shuffle=False, verbose=0)
    still = {v.path.split("/")[0] for v in model.weights if np.array_equal(v, before[v.path])}
    assert still == {"stem", "block1"}


def test_unknown_stage_is_refused():
    with pytest.raises(ValueError, match=r'^until must be None, "all" or one of stem, .* Received: until=\'b3\'$'):
        kd.freeze(small(), "b3")


class Watch(keras.callbacks.Callback):
    """Notes what each phase trains, how fast, and how."""

    def __init__(self):
        super().__init__()
        self.phases = []

    def on_train_begin(self, logs=None):
        rate = float(self.model.optimizer.learning_rate)
        stages = [stage for stage in STAGES if self.model.get_layer(stage).trainable]
        self.phases.append((stages, pytest.approx(rate), self.model.jit_compile))


@pytest.fixture(scope="module")
def tuned():
    """A model, what happened while it was fine-tuned, and the history."""
    keras.utils.set_random_seed(1)
    model, watch = small(), Watch()
    options = {"head_epochs": 3, "epochs": 4, "learning_rate": 0.1, "patience": 9, "callbacks": [watch]}
    return model, watch, kd.fine_tune(model, DATA, DATA, until="stem", verbose=0, **options)


@pytest.mark.slow
def test_first_the_classifier_then_the_upper_stages_at_a_tenth_of_the_rate_both_under_xla(tuned):
    assert tuned[1].phases == [([], 0.1, True), (STAGES[1:], 0.01, True)]


@pytest.mark.slow
def test_history_has_all_epochs_and_learning_shows_in_it(tuned):
    history = tuned[2]
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(
        ["loss", "accuracy", "val_loss", "val_accuracy"], 7
    )
    assert min(history["val_loss"]) < 0.95 * history["val_loss"][0]


@pytest.mark.slow
def test_the_best_epochs_weights_are_kept(tuned):
    model, _, history = tuned
    assert model.evaluate(DATA, verbose=0)[0] == pytest.approx(min(history["val_loss"]), rel=1e-5)


@pytest.mark.slow
def test_a_second_phase_that_only_harms_is_undone():
    """At this rate the network is destroyed as soon as its backbone trains; logits are recognised as such."""
    model = small(classifier_activation=None)
    before = model.get_layer("stem").get_weights()
    history = kd.fine_tune(model, DATA, DATA, head_epochs=1, epochs=1, learning_rate=1e3, jit_compile=False, verbose=0)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(LABELS, model(IMAGES))
    assert np.argmin(history["val_loss"]) == 0
    assert float(expected) == pytest.approx(history["val_loss"][0], rel=1e-4)
    np.testing.assert_array_equal(model.get_layer("stem").get_weights(), before)


def test_bad_calls_are_refused_before_anything_trains():
    with pytest.raises(ValueError, match=r"^The model must end in a classifier, see reset_classifier"):
        kd.fine_tune(network(include_top=False), DATA, DATA)
    with pytest.raises(ValueError, match=r"^epochs must be a whole number >= 0\. Received: epochs=-1$"):
        kd.fine_tune(small(), DATA, DATA, epochs=-1)
    model = small()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"^until must be .* Received: until='block9'$"):
        kd.fine_tune(model, DATA, DATA, until="block9", verbose=0)
    assert all(map(np.array_equal, model.get_weights(), before))
    around = keras.Sequential([keras.Input((9, 8, 3)), model])
    for call in (lambda: kd.freeze(around), lambda: kd.fine_tune(around, DATA, DATA)):
        with pytest.raises(ValueError, match=r"^model must be a DenseNetModel; .*explain\.flat.* Received: Sequential"):
            call()
    with pytest.raises(ValueError, match=r"^A softmax over one output is always 1: call reset_classifier"):
        kd.fine_tune(small(classes=1), DATA, DATA)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (None, r"must be a tf\.data\.Dataset of .* Received: NoneType$"),
        ((IMAGES, LABELS), r"must be a tf\.data\.Dataset of .*from_tensor_slices.* Received: tuple$"),
        (IMAGES, r"must be a tf\.data\.Dataset of .* Received: ndarray$"),
        (DATA.take(0), r"must have a batch\. Received: an empty data set$"),
        (DATA.repeat(), r"must end: .* Received: an endless data set$"),
        (DATA.unbatch(), r"must give batches of \(images, labels\)\. Received: "),
        (DATA.map(lambda images, _: images), r"must give batches of \(images, labels\)\. Received: "),
        (DATA.map(lambda x, y: (x, tf.one_hot(y, 5))), r"must be numbers \(batch,\), or give a loss.*\(8, 5\)"),
        (DATA.map(lambda x, y: (x, tf.as_string(y))), r"must be numbers \(batch,\), or give a loss.*tf\.string"),
    ],
)
def test_data_of_another_kind_is_refused_in_one_sentence(data, sentence):
    model = small()
    for name, pair in (("train_data", (data, DATA)), ("validation_data", (DATA, data))):
        with pytest.raises(ValueError, match=f"^(The labels of )?{name} {sentence}"):
            kd.fine_tune(model, *pair, verbose=0)


def _state(model):
    return model.get_weights(), [layer.trainable for layer in (model, *model.layers)]


def _assert_as_before(model, before):
    weights, frozen = _state(model)
    assert all(map(np.array_equal, weights, before[0]))
    assert frozen == before[1]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 5])
@pytest.mark.parametrize("which", ["train_data", "validation_data"])
def test_labels_of_no_class_are_named_before_a_loss_sees_them_and_the_model_is_as_it_was(classes, which):
    model = kd.freeze(small(classes=classes, classifier_activation="sigmoid" if classes == 1 else "softmax"), "block1")
    count = max(2, classes)
    before, good = _state(model), DATA.map(lambda x, y: (x, y % count))
    late = good.concatenate(good.map(lambda x, y: (x, y + 1)))  # labels 1..n, after a batch that is right
    data = {"train_data": good, "validation_data": good, which: late}
    allowed = rf"0\.\.{count - 1}{', or -1 where unknown,' if classes == 1 else ''}"
    sentence = rf"^The labels of {which} must be in {allowed} for this model\. Received: labels from 1 to {count}$"
    with pytest.raises(ValueError, match=sentence):
        kd.fine_tune(model, **data, jit_compile=False, verbose=0)
    _assert_as_before(model, before)


@pytest.mark.slow
def test_one_sigmoid_output_learns_two_classes_from_integer_labels():
    data = DATA.map(lambda x, y: (x, y % 2))
    for activation in ("sigmoid", None):
        model = small(classes=1, classifier_activation=activation)
        history = kd.fine_tune(model, data, data, head_epochs=3, epochs=3, jit_compile=False, verbose=0)
        loss = keras.losses.BinaryCrossentropy(from_logits=activation is None)
        expected = loss((LABELS % 2)[:, None], model(IMAGES, training=False))
        assert float(expected) == pytest.approx(min(history["val_loss"]), rel=1e-4)
        right = (model(IMAGES, training=False).numpy()[:, 0] > (0.5 if activation else 0)) == LABELS % 2
        assert right.mean() == history["val_accuracy"][np.argmin(history["val_loss"])]


@pytest.mark.slow
def test_a_classifier_of_sigmoids_learns_many_labels_and_leaves_the_unknown_out():
    """The fifth column is unknown throughout, and what it was makes no difference."""
    labels = np.eye(5, dtype="int8")[LABELS]
    labels[:, 4], labels[0, 0] = -1, -1
    data = tf.data.Dataset.from_tensors((IMAGES, labels))
    model = small(classifier_activation="sigmoid")
    before = [weights[..., 4] for weights in model.get_layer("classifier").get_weights()]
    history = kd.fine_tune(model, data, data, head_epochs=3, epochs=0, weight_decay=0.0, jit_compile=False, verbose=0)
    after = [weights[..., 4] for weights in model.get_layer("classifier").get_weights()]
    assert all(map(np.array_equal, before, after))
    found, known = model(IMAGES, training=False).numpy(), labels >= 0
    expected = -np.log(np.where(labels == 1, found, 1 - found))[known].mean()
    assert expected == pytest.approx(min(history["val_loss"]), rel=1e-4)
    right = ((found > 0.5) == (labels == 1))[known].mean()
    assert right == pytest.approx(history["val_accuracy"][np.argmin(history["val_loss"])])
    with pytest.raises(ValueError, match=r"^The labels of train_data must be numbers \(batch, 5\), .* Received: "):
        kd.fine_tune(model, DATA, DATA, verbose=0)


class Fails(keras.callbacks.Callback):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        raise self.error


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")])
def test_a_model_whose_training_ends_early_is_as_it_was(error):
    model = kd.freeze(small(), "stem")
    before = _state(model)
    with pytest.raises(type(error)):
        kd.fine_tune(model, DATA, DATA, callbacks=[Fails(error)], learning_rate=1.0, jit_compile=False, verbose=0)
    _assert_as_before(model, before)


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_told_and_undone():
    model, broken = small(), DATA.map(lambda x, y: (x * np.float32("nan"), y))
    before = _state(model)
    with pytest.raises(RuntimeError, match=r"^The loss stopped being a number, and the model is as it was: "):
        kd.fine_tune(model, broken, DATA, jit_compile=False, verbose=0)
    _assert_as_before(model, before)
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    with pytest.raises(ValueError, match=r"^The weights of .* must be finite before training"):
        kd.fine_tune(model, DATA, DATA, verbose=0)
