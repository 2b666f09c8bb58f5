import numpy as np

from keras_densenet.data import load_digits
from keras_densenet.data.splits import limited


def test_the_digits_are_split_always_alike_and_share_no_image():
    first, second = load_digits(), load_digits()
    assert [len(part.labels) for part in first[:3]] == [1257, 180, 360]
    np.testing.assert_array_equal(first.test.images, second.test.images)
    seen = {image.tobytes() for image in first.train.images} | {image.tobytes() for image in first.validation.images}
    assert not any(image.tobytes() in seen for image in first.test.images)


def test_the_digits_are_grey_pixels_of_every_class():
    splits = load_digits()
    for part in splits[:3]:
        assert part.images.shape[1:] == (32, 32, 1)
        assert part.images.dtype == np.float32
        assert 0 <= part.images.min() < part.images.max() <= 255
        assert set(part.labels) == set(range(10))
    assert splits.labels == list("0123456789")


def test_a_limited_data_set_has_every_class_and_images_of_the_whole_one():
    whole = load_digits()
    part = limited(whole, 100)
    assert [len(split.labels) for split in part[:3]] == [100, 50, 100]
    assert all(set(split.labels) == set(range(10)) for split in part[:3])
    seen = {image.tobytes() for image in whole.train.images}
    assert all(image.tobytes() in seen for image in part.train.images)
    assert limited(whole, None) is whole
