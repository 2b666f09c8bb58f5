import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, top_k_accuracy_score

from keras_densenet.training.metrics import per_label, summary


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 4), st.sampled_from([1, 20]))
def test_each_label_equals_scikit_learn_on_its_known_images(seed, images, labels, levels):
    random = np.random.default_rng(seed)
    truth = random.integers(-1, 2, (images, labels)).astype("int8")
    probabilities = (random.integers(0, levels, (images, labels)) / levels).astype("float32")  # with ties
    found = per_label(truth, probabilities)
    for label in range(labels):
        known = truth[:, label] >= 0
        there, values = truth[known, label], probabilities[known, label]
        if len(set(there)) == 2:
            assert found["auroc"][label] == pytest.approx(roc_auc_score(there, values), abs=1e-9)
            assert found["average_precision"][label] == pytest.approx(average_precision_score(there, values), abs=1e-9)
        else:
            assert np.isnan([found["auroc"][label], found["average_precision"][label]]).all()


def test_one_class_an_image_counts_each_class_against_the_rest():
    random = np.random.default_rng(0)
    truth, probabilities = random.integers(0, 7, 60), random.dirichlet(np.ones(7), 60)
    found, means = per_label(truth, probabilities), summary(truth, probabilities)
    one_hot = np.eye(7)[truth]
    np.testing.assert_allclose(found["auroc"], roc_auc_score(one_hot, probabilities, average=None), atol=1e-9)
    assert means == {
        "auroc": pytest.approx(roc_auc_score(truth, probabilities, multi_class="ovr"), abs=1e-9),
        "average_precision": pytest.approx(average_precision_score(one_hot, probabilities), abs=1e-9),
        "accuracy": pytest.approx((probabilities.argmax(1) == truth).mean()),
        "top5": pytest.approx(top_k_accuracy_score(truth, probabilities, k=5)),
    }


def test_means_leave_out_labels_without_a_number():
    truth = np.array([[1, 1, -1], [0, 1, -1], [-1, 1, -1]], "int8")
    probabilities = np.array([[0.9, 0.5, 0.1], [0.2, 0.5, 0.2], [0.1, 0.5, 0.3]])
    assert summary(truth, probabilities) == {"auroc": 1.0, "average_precision": 1.0}
    assert all(np.isnan(value) for value in summary(truth[:, 1:], probabilities[:, 1:]).values())
    assert np.isnan(summary(truth, probabilities * np.nan)["auroc"])  # of a network that diverged
    assert summary(np.array([0]), np.array([[0.4, 0.6]]))["accuracy"] == 0  # one image


def test_shapes_that_do_not_fit_are_named():
    for truth in (np.zeros((3, 2), "int8"), np.zeros(4, "int32"), np.zeros((0, 2), "int8")):
        with pytest.raises(ValueError, match=r"Received: truth of \(.*\), probabilities of \(3, 5\)"):
            per_label(truth, np.zeros((3, 5)))
