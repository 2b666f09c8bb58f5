import numpy as np

from keras_densenet.data import load_digits


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
