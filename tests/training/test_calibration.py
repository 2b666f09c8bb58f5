import json

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.calibration import calibration_curve
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score

import keras_densenet as kd
from keras_densenet import training
from keras_densenet.data import Split
from keras_densenet.models import Decisions
from keras_densenet.training.calibration import fit_temperature, threshold
from keras_densenet.training.metrics import calibration_error, reliability
from tests.tiny import network

LABELS = ["ant", "bee", "cow", "dog"]
MANY = {"classes": 4, "classifier_activation": "sigmoid"}


def images(count=40):
    random = np.random.default_rng(0)
    truth = random.integers(-1, 2, (count, 4)).astype("int8")
    truth[:, 1] = np.minimum(truth[:, 1], 0)  # no bee anywhere
    truth[:, 2] = -1  # of cows nobody knows
    return Split(random.uniform(0, 2, (count, 9, 8, 3)).astype("float32"), truth)


@pytest.fixture(scope="module")
def calibrated():
    keras.utils.set_random_seed(0)
    model = network(**MANY)
    model.labels = LABELS
    return model, training.calibrate(model, images(), "sensitivity=0.8")


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_logits_that_were_scaled_get_their_scale_back(kind):
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 5))
    if kind == "softmax":
        truth = (logits + random.gumbel(size=logits.shape)).argmax(1)
    else:
        truth = (random.logistic(size=logits.shape) < logits).astype("int8")
        truth[random.random(truth.shape) < 0.3] = -1
    assert fit_temperature(truth, 2.5 * logits, kind) == pytest.approx(2.5, rel=0.05)
    assert fit_temperature(truth, 0.4 * logits, kind) == pytest.approx(0.4, rel=0.05)


def test_what_cannot_be_fitted_stays_as_it_is():
    assert fit_temperature(np.array([1]), np.array([[0.0, 3.0]])) == 1  # one image, and right
    assert fit_temperature(np.array([0, 1]), np.zeros((2, 3))) == 1  # constant
    assert fit_temperature(np.full((3, 2), -1), np.ones((3, 2)), "sigmoid") == 1  # nothing known


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 3, 1000]), st.sampled_from([0.5, 0.9, 1.0]))
def test_thresholds_keep_what_they_promise(seed, count, levels, share):
    random = np.random.default_rng(seed)
    there = random.random(count) < 0.3
    values = (random.integers(0, levels + 1, count) / levels).astype("float32")
    candidates = [*values, 1.1]

    def called(limit):
        return values >= np.float32(limit)

    limit = threshold(there, values, "f1")
    assert (limit is None) == (not there.any())
    if limit is not None:
        best = max(f1_score(there, called(candidate), zero_division=0) for candidate in candidates)
        assert f1_score(there, called(limit)) == pytest.approx(best)
    limit = threshold(there, values, "sensitivity", share)
    assert (limit is None) == (not there.any())
    if limit is not None:
        assert called(limit)[there].mean() >= share
        assert all(
            called(higher)[there].mean() < share for higher in candidates if called(higher).sum() < called(limit).sum()
        )
    limit = threshold(there, values, "specificity", share)
    assert (limit is None) == there.all()
    if limit is not None:
        assert (~called(limit)[~there]).mean() >= share
        assert all(
            (~called(lower)[~there]).mean() < share for lower in values if called(lower).sum() > called(limit).sum()
        )


def test_a_threshold_lies_between_probabilities_not_on_one():
    values = np.array([0.1, 0.2, 0.6, 0.9], "float32")
    assert threshold(values > 0.5, values, "f1") == pytest.approx(0.4)


def test_the_error_is_that_of_equal_bins():
    random = np.random.default_rng(0)
    values = random.random(500)
    truth = (random.random(500) < values**2)[:, None].astype("int8")
    right, sure = calibration_curve(truth[:, 0], values, n_bins=15)
    points = reliability(truth, values[:, None])
    np.testing.assert_allclose(points[:, 1:], np.column_stack([sure, right]))
    assert points[:, 0].sum() == 500
    assert calibration_error(truth, values[:, None]) == pytest.approx((points[:, 0] * abs(sure - right)).sum() / 500)
    assert np.isnan(calibration_error(np.array([[-1]]), np.array([[0.5]])))
    assert calibration_error(np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])) == 0


@pytest.mark.slow
def test_a_model_keeps_what_was_decided(calibrated, tmp_path):
    model, found = calibrated
    thresholds = model.decisions.thresholds
    assert [limit is None for limit in thresholds] == [False, True, True, False]
    assert model.decisions.rule == "sensitivity=0.8"
    assert found.decisions == model.decisions
    row = found.after.table[0]
    assert row["threshold"] == thresholds[0]
    assert row["sensitivity"] >= 0.8
    model.save(tmp_path / "a.keras")
    for other in (keras.models.load_model(tmp_path / "a.keras"), kd.fold(model), kd.explain.flat(model)):
        assert other.decisions == model.decisions
    assert model.with_preprocessing("torch").decisions == model.decisions
    assert model.reset_classifier(4).decisions is None


@pytest.mark.slow
def test_evaluations_take_probabilities_after_the_temperature_and_thresholds(calibrated):
    model, found = calibrated
    again = training.evaluate(model, images(), LABELS, resamples=0)
    np.testing.assert_allclose(again.probabilities, found.after.probabilities, atol=1e-6)
    assert again.thresholds == model.decisions.thresholds
    hot = kd.explain.flat(model)
    hot.decisions = Decisions(temperature=3.0)
    logits = np.log(found.before.probabilities / (1 - found.before.probabilities))
    cooled = training.evaluate(hot, images(), LABELS, resamples=0)
    np.testing.assert_allclose(cooled.probabilities, 1 / (1 + np.exp(-logits / 3)), atol=1e-5)
    assert cooled.thresholds == (0.5,) * 4


def test_the_files_hold_figures_before_and_after(calibrated, tmp_path):
    model, found = calibrated
    found.write(tmp_path)
    state = json.loads((tmp_path / "calibration.json").read_text())
    assert state["temperature"] == model.decisions.temperature
    assert state["calibration_error"] == dict(zip(("before", "after"), model.decisions.calibration_error, strict=True))
    assert [row["threshold"] for row in state["labels"]] == list(model.decisions.thresholds)
    assert state["labels"][2] == {
        **{"label": "cow", "known": 0, "images": 0, "threshold": None},
        **{"sensitivity": None, "specificity": None, "precision": None},
    }
    with Image.open(tmp_path / "calibration.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_one_image_and_one_of_which_nothing_is_known_are_calibrated_too():
    model = network(**MANY)
    for truth in ([[1, 0, -1, -1]], [[-1] * 4]):
        found = training.calibrate(model, images(1)._replace(labels=np.array(truth, "int8")))
        assert found.decisions.temperature == 1
        assert found.decisions.thresholds[1:] == (None,) * 3


@pytest.mark.slow
def test_a_file_gets_decisions_and_stays_what_it_is_otherwise(tmp_path):
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(images(4).images, np.arange(4))
    model.save(tmp_path / "a.keras")
    decisions = Decisions((None, 0.25, 0.5, 0.5, 0.5), 1.7, "f1", (0.2, 0.1))
    training.keep_decisions(tmp_path / "a.keras", decisions)
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert loaded.decisions == decisions
    np.testing.assert_array_equal(loaded.optimizer.variables[2], model.optimizer.variables[2])
    np.testing.assert_array_equal(loaded(images(4).images), model(images(4).images))
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "b.keras")
    with pytest.raises(ValueError, match=r"b\.keras' must hold a DenseNetModel"):
        training.keep_decisions(tmp_path / "b.keras", decisions)


@pytest.mark.parametrize(
    ("decisions", "sentence"),
    [
        (Decisions((0.5, 0.5)), "thresholds must be 5, one for each label. Received: 2"),
        (Decisions((0.5, 0.5, 0.5, 0.5, float("nan"))), "thresholds must be finite numbers, or None. Received: "),
        (Decisions(temperature=0.0), "temperature must be a positive number. Received: temperature=0.0"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(decisions, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        network().decisions = decisions


@pytest.mark.slow
def test_an_overfitted_network_becomes_honest_and_no_less_accurate():
    """Mark of the issue; `benchmarks.calibration` has it for Fashion-MNIST."""
    digits, order = load_digits(), np.random.default_rng(0).permutation(1797)
    pixels, truth = (digits.images[order, :, :, None] * 15).astype("float32"), digits.target[order].astype("int32")
    model = kd.DenseNet(blocks=(2, 1), growth_rate=2, stem="cifar", input_shape=(8, 8, 1), classes=10)
    model = model.with_preprocessing({"mean": 100.0, "std": 60.0})
    model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(pixels[:150], truth[:150], batch_size=50, epochs=30, verbose=0)
    validation, test = Split(pixels[300:1000], truth[300:1000]), Split(pixels[1000:], truth[1000:])
    before = training.evaluate(model, test, list("0123456789"), 200, resamples=0)
    training.calibrate(model, validation, batch_size=200)
    after = training.evaluate(model, test, list("0123456789"), 200, resamples=0)
    assert after.figures["calibration_error"] < before.figures["calibration_error"] / 2
    assert after.top1 == before.top1
    assert after.loss < before.loss


def test_what_cannot_be_calibrated_is_told():
    one_class = Split(images(4).images, np.arange(4, dtype="int32"))
    with pytest.raises(ValueError, match=r"thresholds must be left out where.* Received: thresholds='f1'"):
        training.calibrate(network(classes=4), one_class, "f1")
    with pytest.raises(ValueError, match=r"The model must end in softmax or sigmoid.* ends in None"):
        training.calibrate(network(classes=4, classifier_activation=None), one_class)
    with pytest.raises(ValueError, match=r"calibrate takes a DenseNetModel.* Received: Sequential"):
        training.calibrate(keras.Sequential([network(classes=4)]), one_class)
    with pytest.raises(ValueError, match=r"in \(0, 1\], such as sensitivity=0.9. Received: thresholds='recall=2'"):
        training.calibrate(network(**MANY), images(), "recall=2")
    with pytest.raises(ValueError, match="many labels each, which needs a network that ends in a sigmoid"):
        training.calibrate(network(classes=4), images())
