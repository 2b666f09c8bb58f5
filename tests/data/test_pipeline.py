import itertools

import numpy as np
import pytest

from keras_densenet.data import Augmentation, Framing, Pictures, Split, evaluation_batches, training_stream
from tests.data.pictures import write_classes


@pytest.fixture
def split():
    images = np.zeros((11, 8, 8, 1), "float32")
    images[:, 3:5, 3:5, 0] = np.arange(1, 12)[:, None, None]
    return Split(images, np.arange(11, dtype="int32"))


def _epochs(split, count, **options):
    stream, steps = training_stream(split, batch_size=4, **options)
    batches = [(x.numpy(), y.numpy()) for x, y in itertools.islice(iter(stream), count * steps)]
    return [batches[i : i + steps] for i in range(0, len(batches), steps)]


def test_an_epoch_continued_is_the_epoch_of_an_unbroken_run(split):
    whole, rest = _epochs(split, 3, seed=7), _epochs(split, 1, seed=7, first_epoch=2)
    for (x, y), (x2, y2) in zip(whole[2], rest[0], strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_epochs_and_seeds_differ_and_none_repeats_an_image(split):
    epochs = [np.concatenate([y for _, y in epoch]) for epoch in _epochs(split, 2, seed=7)]
    other = np.concatenate([y for _, y in _epochs(split, 1, seed=8)[0]])
    assert all(len(set(labels)) == 8 for labels in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], other)


def test_evaluation_sees_every_image_once_in_batches_of_one_shape(split):
    batches = [[part.numpy() for part in batch] for batch in evaluation_batches(split, 4)]
    assert {x.shape for x, _, _ in batches} == {(4, 8, 8, 1)}
    labels = np.concatenate([y[w > 0] for _, y, w in batches])
    assert sorted(labels) == list(range(11))


def test_a_batch_larger_than_the_data_is_refused(split):
    with pytest.raises(ValueError, match=r"at most the 11 training images. Received: batch_size=12"):
        training_stream(split, 12, seed=0)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation("cifar"), Augmentation("imagenet")], ids=str)
def test_workers_get_their_slices_of_the_same_global_batches(split, augmentation):
    whole = itertools.chain(*_epochs(split, 2, seed=3, augmentation=augmentation))
    first, second = (
        itertools.chain(*_epochs(split, 2, seed=3, augmentation=augmentation, shard=(index, 2))) for index in (0, 1)
    )
    for (x, y), (x0, y0), (x1, y1) in zip(whole, first, second, strict=True):
        np.testing.assert_array_equal(x, np.concatenate([x0, x1]))
        np.testing.assert_array_equal(y, np.concatenate([y0, y1]))


def test_a_batch_that_cannot_be_shared_out_is_refused(split):
    with pytest.raises(ValueError, match=r"multiple of the 3 workers. Received: batch_size=4"):
        training_stream(split, 4, seed=0, shard=(0, 3))


@pytest.mark.slow
def test_pictures_on_disk_give_the_batches_of_the_array(tmp_path):
    write_classes(tmp_path / "photos", {"a": 10, "b": 10}, height=40, width=40)
    files = np.array(sorted(map(str, (tmp_path / "photos").rglob("*.png"))), object)
    pictures = Pictures(files, Framing((40, 40), 3))
    for kind in ("none", "imagenet"):
        one, other = (
            _epochs(Split(images, np.arange(20)), 1, seed=1, augmentation=Augmentation(kind))
            for images in (pictures, pictures.settled())
        )
        for (x, _), (x2, _) in zip(one[0], other[0], strict=True):
            np.testing.assert_array_equal(x, x2)
    evaluated = [x.numpy() for x, _, _ in evaluation_batches(Split(pictures, np.arange(20)), 8)]
    np.testing.assert_array_equal(np.concatenate(evaluated)[:20], pictures[:])


@pytest.fixture
def uneven():
    """Ninety images of class 0, eight of class 1, two of class 2."""
    labels = np.repeat(np.arange(3, dtype="int32"), (90, 8, 2))
    images = np.arange(100, dtype="float32")[:, None, None, None] * np.ones((2, 2, 1), "float32")
    return Split(images, labels)


def test_balanced_epochs_have_every_class_alike_and_frequent_ones_all_their_images(uneven):
    epochs = _epochs(uneven, 8, seed=7, balanced=True)
    seen = np.concatenate([x[:, 0, 0, 0] for epoch in epochs for x, _ in epoch])
    for epoch in epochs:
        labels = np.concatenate([y for _, y in epoch])
        assert sorted(np.bincount(labels)) == [33, 33, 34]
        assert len({tuple(y) for _, y in epoch}) > 5  # mixed up
        images = np.concatenate([x[:, 0, 0, 0] for x, _ in epoch])
        assert len(set(images[labels == 0])) >= 33
        assert set(np.bincount(images[labels == 1].astype(int), minlength=98)[90:98]) <= {4, 5}
    assert len(set(seen[seen < 90])) > 80
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])


def test_a_balanced_epoch_continued_or_shared_out_is_the_same(uneven):
    whole, rest = _epochs(uneven, 3, seed=7, balanced=True), _epochs(uneven, 1, seed=7, first_epoch=2, balanced=True)
    halves = [_epochs(uneven, 3, seed=7, balanced=True, shard=(index, 2)) for index in (0, 1)]
    for step, (x, y) in enumerate(whole[2]):
        for other in (
            rest[0][step],
            tuple(np.concatenate(part) for part in zip(*(h[2][step] for h in halves), strict=True)),
        ):
            np.testing.assert_array_equal(x, other[0])
            np.testing.assert_array_equal(y, other[1])


def test_many_labels_are_not_balanced_by_sampling(uneven):
    with pytest.raises(ValueError, match="balanced sampling is for one class of each image"):
        training_stream(Split(uneven.images, np.zeros((100, 2), "int8")), 4, seed=0, balanced=True)


def test_many_labels_are_evaluated_as_they_are(uneven):
    labels = np.random.default_rng(0).integers(-1, 2, (100, 3)).astype("int8")
    batches = [[part.numpy() for part in batch] for batch in evaluation_batches(Split(uneven.images, labels), 32)]
    np.testing.assert_array_equal(np.concatenate([y[w > 0] for _, y, w in batches]), labels)
