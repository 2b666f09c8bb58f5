"""What is held out: no group in part, of every class and label its share."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from keras_densenet.data import Split
from keras_densenet.data.splits import arrange, hold_out, limited
from keras_densenet.data.stratify import held


def _table(random, count, number, width):
    """Labels of either kind, and a group for each image."""
    groups = np.array([f"p{index}" for index in random.integers(0, number, count)])
    if width == 0:
        return random.choice(6, count, p=random.dirichlet(np.ones(6) / 2)).astype("int32"), groups
    return random.choice([-1, 0, 1], (count, width), p=random.dirichlet(np.ones(3))).astype("int8"), groups


@pytest.mark.slow
@hypothesis.given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(3, 60),
    strategies.integers(3, 20),
    strategies.integers(0, 5),
    strategies.sampled_from([0, 0.1, 0.5]),
)
@hypothesis.settings(max_examples=1000, deadline=None)
def test_no_group_is_in_two_splits_and_no_image_is_lost(seed, count, number, width, validation):
    labels, groups = _table(np.random.default_rng(seed), count, number, width)
    whole = {"train": Split(np.arange(count)[:, None, None, None], labels, groups)}
    try:
        splits = arrange(whole, "abcdef", seed, validation, by="patient")
    except ValueError as error:
        hypothesis.assume("too few values of 'patient'" not in str(error))
        raise
    used = splits[:3] if validation else (splits.train, splits.test)
    parts = [split.images.ravel() for split in used]
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert sum(len(set(groups[part])) for part in parts) == len(set(groups))
    for part, split in zip(parts, used, strict=True):
        assert len(part)
        np.testing.assert_array_equal(split.labels, labels[part])
        np.testing.assert_array_equal(split.groups, groups[part])
    train = splits.train.labels
    if width:
        assert ((train == 1).any(0) == (labels == 1).any(0)).all()
    else:
        assert set(train) == set(labels)


@pytest.mark.parametrize("group_size", [None, 10])
def test_every_label_keeps_its_share_and_rare_ones_are_in_each_part(group_size):
    random = np.random.default_rng(0)
    rates = np.array([0.5, 0.9, 0.2, 0.1, 0.05, 0.02, 0.01])
    labels = (random.random((3000, 7)) < rates).astype("int8")
    labels[random.random(labels.shape) < 0.15] = -1
    groups = None if group_size is None else np.arange(3000) // group_size
    rest, test = hold_out(Split(np.arange(3000)[:, None, None, None], labels, groups), 0.2, 0)
    for value in (0, 1):
        whole, part = (labels == value).sum(0), (test.labels == value).sum(0)
        assert np.all(np.abs(part - 0.2 * whole) <= np.maximum(3, 0.1 * whole * 0.2)), (whole, part)
        assert np.all((rest.labels == value).sum(0) + part == whole)


def test_a_label_of_three_groups_is_in_all_three_parts():
    labels = np.zeros((60, 2), "int8")
    labels[[3, 21, 47]] = 1, 0
    labels[::2, 1] = 1
    whole = Split(np.zeros((60, 1, 1, 1)), labels, np.arange(60) // 4)
    splits = arrange({"train": whole}, "ab", 0, 0.1, by="p")
    assert [part.labels[:, 0].sum() for part in splits[:3]] == [1, 1, 1]


def test_classes_keep_their_share_although_groups_are_whole():
    random = np.random.default_rng(1)
    labels = random.choice(4, 2000, p=[0.6, 0.3, 0.08, 0.02]).astype("int32")
    inside = held(labels, 0.25, 3, np.arange(2000) // 5)
    np.testing.assert_allclose(np.bincount(labels[inside]) / np.bincount(labels), 0.25, atol=0.05)
    assert not np.array_equal(inside, held(labels, 0.25, 4, np.arange(2000) // 5))


def test_a_limited_data_set_keeps_the_shares_of_labels():
    random = np.random.default_rng(2)
    labels = (random.random((1000, 3)) < [0.5, 0.1, 0.05]).astype("int8")
    split = Split(np.zeros((1000, 1, 1, 1), "uint8"), labels)
    part = limited(arrange({"train": split}, "abc", 0, 0.1), 200)
    assert abs(len(part.train.labels) - 200) <= 10
    np.testing.assert_allclose(part.train.labels.mean(0), labels.mean(0), atol=0.03)


def test_which_images_of_classes_are_held_out_has_not_changed():
    """A run that goes on must find its own test images."""
    labels = np.random.default_rng(0).integers(0, 3, 20).astype("int32")
    assert np.flatnonzero(held(labels, 0.2, 0)).tolist() == [6, 10, 14, 16]
