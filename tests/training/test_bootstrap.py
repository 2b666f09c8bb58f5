import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from keras_densenet.training.bootstrap import areas, intervals
from keras_densenet.training.metrics import per_label, summary


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.sampled_from([1, 4, 1000]))
def test_areas_equal_scikit_learn_with_images_as_often_as_they_are_drawn(seed, images, levels):
    random = np.random.default_rng(seed)
    there = np.append([True, False], random.random(images - 2) < 0.4)
    values = (random.integers(0, levels, images) / levels).astype("float32")  # with ties
    weights = random.integers(0, 3, (images, 5), dtype="int32")
    for auroc, precision, weight in zip(*areas(there, values, weights), weights.T, strict=True):
        if len({*there[weight > 0]}) == 2:
            assert auroc == pytest.approx(roc_auc_score(there, values, sample_weight=weight), abs=1e-9)
            assert precision == pytest.approx(average_precision_score(there, values, sample_weight=weight), abs=1e-9)
        else:
            assert np.isnan([auroc, precision]).all()


@pytest.fixture(scope="module")
def answers():
    random = np.random.default_rng(1)
    truth = random.integers(-1, 2, (200, 4)).astype("int8")
    truth[:, 2], truth[:, 3] = 0, -1  # nothing is there, nothing is known
    return truth, (0.3 * (truth == 1) + random.random((200, 4))).astype("float32")


def test_intervals_surround_what_was_found_and_follow_from_the_seed(answers):
    found, means = intervals(*answers, resamples=300)
    for name, values in per_label(*answers).items():
        assert (found[name][:2, 0] < values[:2]).all()
        assert (values[:2] < found[name][:2, 1]).all()
        assert np.isnan(found[name][2:]).all()
        assert means[name][0] < summary(*answers)[name] < means[name][1]
    assert intervals(*answers, resamples=300)[1] == means
    assert intervals(*answers, resamples=300, seed=1)[1] != means


def test_the_width_is_that_of_many_sets_of_images():
    random = np.random.default_rng(2)

    def drawn(count):
        there = random.random((count, 1)) < 0.5
        return there.astype("int8"), there + random.normal(0, 1, (count, 1))

    spread = np.std([summary(*drawn(200))["auroc"] for _ in range(200)])
    low, high = intervals(*drawn(200), resamples=1000)[1]["auroc"]
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.3)


def test_groups_are_drawn_whole():
    truth, values = np.array([[1], [0]] * 20, "int8"), np.random.default_rng(3).random((40, 1))
    truth, values = np.repeat(truth, 9, 0), np.repeat(values, 9, 0)  # nine equal images of a patient
    patients = np.repeat(np.arange(40), 9)
    (low, high), alone = (intervals(truth, values, groups)[1]["auroc"] for groups in (patients, None))
    assert high - low > 2 * (alone[1] - alone[0])
    with pytest.raises(ValueError, match=r"groups must be one for each of 360 images. Received: shape \(3,\)"):
        intervals(truth, values, np.arange(3))


def test_one_image_and_equal_probabilities_have_the_intervals_that_they_can_have():
    one, means = intervals(np.array([[1, 0]], "int8"), np.array([[0.5, 0.5]]))
    assert np.isnan(one["auroc"]).all()
    assert np.isnan(means["auroc"]).all()
    constant, _ = intervals(np.array([[1], [0], [0]], "int8"), np.full((3, 1), 0.5))
    np.testing.assert_array_equal(constant["auroc"], [[0.5, 0.5]])
