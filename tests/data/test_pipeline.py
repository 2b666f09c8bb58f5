import itertools

import numpy as np
import pytest

from keras_densenet.data import Split, evaluation_batches, training_stream


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


def test_images_are_moved_but_keep_their_label(split):
    positions = set()
    for x, y in itertools.chain(*_epochs(split, 4, seed=7, pad=3)):
        for image, label in zip(x, y, strict=True):
            assert set(np.unique(image)) <= {0.0, label + 1.0}
            positions.add(tuple(np.argwhere(image[..., 0])[0]) if image.any() else None)
    assert len(positions) > 5


def test_evaluation_sees_every_image_once_in_batches_of_one_shape(split):
    batches = [[part.numpy() for part in batch] for batch in evaluation_batches(split, 4)]
    assert {x.shape for x, _, _ in batches} == {(4, 8, 8, 1)}
    labels = np.concatenate([y[w > 0] for _, y, w in batches])
    assert sorted(labels) == list(range(11))


def test_a_batch_larger_than_the_data_is_refused(split):
    with pytest.raises(ValueError, match=r"at most the 11 training images. Received: batch_size=12"):
        training_stream(split, 12, seed=0)
