import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from keras_densenet.data import Augmentation, Split, mean_and_std, training_stream
from keras_densenet.data.augmentation import DRAWS, random_photo_box
from tests.data.pictures import picture


@pytest.fixture(scope="module")
def split():
    return Split(np.stack([picture(seed, 16, 16) for seed in range(16)]), np.arange(16, dtype="int32") % 4)


def _batches(split, count, **options):
    stream, _ = training_stream(split, 8, seed=5, **options)
    return [(x.numpy(), y.numpy()) for x, y in itertools.islice(iter(stream), count)]


def _dots():
    images = np.zeros((11, 8, 8, 1), "float32")
    images[:, 3, 2, 0] = np.arange(1, 12)
    return Split(images, np.arange(11, dtype="int32"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shift", "cifar"])
def test_images_are_moved_by_up_to_four_pixels_and_keep_their_label(kind):
    dots, places = _dots(), set()
    mean = float(mean_and_std(dots)[0][0]) if kind == "cifar" else 0.0
    for x, y in _batches(dots, 60, augmentation=Augmentation(kind)):
        for image, label in zip(x[..., 0], y, strict=True):
            strange = [value for value in np.unique(image) if min(abs(value - v) for v in (0, mean, label + 1)) > 1e-5]
            assert not strange
            places.update(map(tuple, np.argwhere(abs(image - label - 1) < 1e-5)))
    rows, columns = zip(*places, strict=True)
    assert (min(rows), max(rows)) == (0, 7)
    assert (min(columns), max(columns)) == ((0, 6) if kind == "shift" else (0, 7))  # 2 + 4; flipped, 7 - 2 + 4


def test_the_paper_pads_with_the_mean_pixel(split):
    mean, _ = mean_and_std(split)
    images = np.concatenate([x for x, _ in _batches(split, 8, augmentation=Augmentation("cifar"))])
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1]].reshape(-1, 3)
    assert np.isclose(corners, mean, atol=1e-3).all(-1).mean() > 0.5


def test_statistics_are_those_of_all_pixels(split):
    mean, std = mean_and_std(split)
    np.testing.assert_allclose(mean, split.images.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, split.images.std((0, 1, 2)), rtol=1e-6)


@hypothesis.given(strategies.integers(1, 3000), strategies.integers(1, 3000), strategies.integers(0, 2**32 - 1))
@hypothesis.settings(deadline=None)
def test_a_random_box_lies_in_the_image_and_has_its_share(height, width, seed):
    top, left, box_height, box_width = random_photo_box(height, width, np.random.default_rng(seed).random(DRAWS - 1))
    assert 0 <= top <= top + box_height <= height * (1 + 1e-9)
    assert 0 <= left <= left + box_width <= width * (1 + 1e-9)
    assert 3 / 4 - 1e-9 <= box_width / box_height <= 4 / 3 + 1e-9
    assert box_height * box_width >= 0.08 * height * width * (1 - 1e-9) or box_height == box_width == min(height, width)


ALL = Augmentation("imagenet", jitter=0.4, randaugment=0.5, mixup=0.2, cutmix=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("augmentation", [ALL, Augmentation(mixup=0.4), Augmentation(cutmix=1.0)], ids=str)
def test_what_keras_layers_draw_follows_from_seed_and_place(split, augmentation):
    whole = _batches(split, 4, augmentation=augmentation)
    rest = _batches(split, 2, augmentation=augmentation, first_epoch=1)
    for (x, y), (x2, y2) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)
    assert not np.array_equal(whole[0][0], whole[2][0])
    for x, y in whole:
        assert x.shape == (8, 16, 16, 3)
        assert np.isfinite(x).all()
        assert y.shape == (8, 4)
        np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-5)
    assert any(((y > 0.01) & (y < 0.99)).any() for _, y in whole)


def test_mixed_labels_have_the_shares_of_the_images():
    images = np.zeros((8, 16, 16, 3), "uint8")
    images[1::2] = 200
    for augmentation in (Augmentation(mixup=0.5), Augmentation(cutmix=1.0)):
        ((x, y),) = _batches(Split(images, np.arange(8, dtype="int32") % 2), 1, augmentation=augmentation)
        np.testing.assert_allclose(x.mean((1, 2, 3)) / 200, y[:, 1], atol=0.13)  # boxes end between pixels


@pytest.mark.parametrize("augmentation", [Augmentation(mixup=0.5), Augmentation(cutmix=1.0)], ids=["mixup", "cutmix"])
def test_a_mixed_label_is_unknown_where_one_of_its_two_is(augmentation):
    """Labels are there exactly where an image is light, and unknown where its green is."""
    images, labels = np.zeros((64, 16, 16, 3), "uint8"), np.zeros((64, 2), "int8")
    labels[::2, 0], labels[::3, 1] = 1, -1
    images[..., 0], images[..., 1] = (labels[:, 0] == 1)[:, None, None] * 200, (labels[:, 1] == -1)[:, None, None] * 200
    seen, differ = set(), 0
    for x, y in _batches(Split(images, labels), 12, augmentation=augmentation):
        shares = x.mean((1, 2)) / 200
        np.testing.assert_allclose(shares[:, 0], y[:, 0], atol=0.13)  # boxes end between pixels
        assert set(y[:, 1]) <= {-1.0, 0.0}
        unknown, shown = y[:, 1] == -1, shares[:, 1] > 1e-6
        assert unknown[shown].all()
        seen, differ = seen | set(y[:, 1]), differ + np.count_nonzero(unknown != shown)
    assert seen == {-1.0, 0.0}
    assert differ < 10  # boxes smaller than a pixel


def test_many_labels_come_as_they_are_where_nothing_is_mixed(split):
    many = Split(split.images, np.tile(np.array([[1, 0, -1]], "int8"), (16, 1)))
    for _, y in _batches(many, 2, augmentation=Augmentation("cifar")):
        np.testing.assert_array_equal(y, many.labels[:8])


@pytest.mark.slow
@pytest.mark.parametrize("option", [{"randaugment": 0.5}, {"jitter": 0.4}])
def test_colours_and_shapes_change_within_0_to_255(split, option):
    ((plain, _),), ((varied, _),) = (
        _batches(split, 1, augmentation=a) for a in (Augmentation(), Augmentation(**option))
    )
    assert np.abs(varied - plain).mean() > 1
    assert 0 <= varied.min() <= varied.max() <= 255


def test_colour_layers_refuse_grey_images():
    with pytest.raises(ValueError, match=r"need RGB images. Received: images with 1 channels"):
        training_stream(_dots(), 8, seed=0, augmentation=Augmentation(randaugment=0.5))


@pytest.mark.parametrize("wrong", [{"kind": "imagnet"}, {"mixup": -1.0}, {"jitter": 2.0}])
def test_an_augmentation_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="Received: "):
        Augmentation(**wrong)
