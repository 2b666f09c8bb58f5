"""preprocess_input and decode_predictions, as in keras.applications."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from keras_densenet.layers import Preprocess

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), "uint8")


def test_arrays_stay_arrays_and_tensors_tensors():
    before = PIXELS.copy()
    expected = keras.applications.densenet.preprocess_input(PIXELS.astype("float32"))
    array, tensor = kd.preprocess_input(PIXELS), kd.preprocess_input(tf.constant(PIXELS))
    assert (type(array), array.dtype) == (np.ndarray, "float32")
    assert (tf.is_tensor(tensor), tensor.dtype) == (True, "float32")
    np.testing.assert_allclose(array, expected, atol=1e-5)
    np.testing.assert_allclose(tensor, expected, atol=1e-5)
    np.testing.assert_array_equal(PIXELS, before)


def test_inside_a_data_pipeline_and_on_one_image():
    data = tf.data.Dataset.from_tensor_slices(PIXELS).map(lambda image: kd.preprocess_input(image, "caffe"))
    np.testing.assert_allclose(next(iter(data)), kd.preprocess_input(PIXELS[0], "caffe"), rtol=1e-6)


@pytest.mark.parametrize(
    "pixels",
    [
        np.linspace(-12, 273, 24, dtype="float32").reshape(2, 2, 2, 3),  # a bicubic resize overshoots
        np.full((1, 2, 2, 3), 0.7, "float32"),  # as good as black
        np.zeros((0, 2, 2, 3), "float32"),
    ],
    ids=["overshot", "dark", "empty"],
)
@pytest.mark.parametrize("mode", ["torch", "caffe", "unit"])
def test_what_values_pixels_have_makes_no_difference_in_a_graph_or_outside(pixels, mode):
    expected = Preprocess(mode)(pixels)
    in_graph = tf.function(lambda x: kd.preprocess_input(x, mode))
    for found in (kd.preprocess_input(pixels, mode), kd.preprocess_input(tf.constant(pixels), mode), in_graph(pixels)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_own_labels():
    ((first, second), _) = kd.decode_predictions(np.array([[0.2, 0.7, 0.1], [1, 0, 0]]), 2, ["cat", "dog", "eel"])
    assert (first, second) == ((1, "dog", 0.7), (0, "cat", 0.2))
    assert len(kd.decode_predictions(np.array([[0.4, 0.6]]), 5, ["cat", "dog"])[0]) == 2
    for top in (0, -1):
        with pytest.raises(ValueError, match=rf"^top must be a whole number >= 1\. Received: top={top}$"):
            kd.decode_predictions(np.array([[0.4, 0.6]]), top, ["cat", "dog"])


def test_imagenets_names(monkeypatch):
    """The list that Keras has loaded; downloading it is Keras' part."""
    from keras.src.applications import imagenet_utils

    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", {str(i): [f"n{i:08d}", f"thing {i}"] for i in range(1000)})
    ((best, *others),) = kd.decode_predictions(tf.one_hot([207], 1000) * 0.9)
    assert best == ("n00000207", "thing 207", pytest.approx(0.9))
    assert len(others) == 4


def test_without_a_network_the_way_out_is_named(monkeypatch, tmp_path):
    from keras.src.applications import imagenet_utils

    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", None)
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX_PATH", "http://127.0.0.1:9/nowhere.json")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with pytest.raises(OSError, match=r"imagenet_class_index\.json into .* or give labels\..*127\.0\.0\.1"):
        kd.decode_predictions(np.zeros((1, 1000)))


def test_other_numbers_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"^predictions must be \(images, 1000\), .* Received: shape \(2, 5\)$"):
        kd.decode_predictions(np.zeros((2, 5)))
