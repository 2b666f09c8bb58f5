import csv
import json
import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from keras_densenet.data import Split
from keras_densenet.training import evaluate, predict
from keras_densenet.training.metrics import calibration_error

LABELS = ["a", "b", "c", "d", "e", "f", "g"]


class Brightness(keras.layers.Layer):
    """A network whose classes are levels of brightness: probabilities fall with the distance from 30 * class."""

    def call(self, images):
        level = keras.ops.mean(images, (1, 2, 3))[:, None] / 30
        return keras.ops.softmax(-keras.ops.abs(level - np.arange(len(LABELS), dtype="float32")))


class Level(keras.layers.Layer):
    """A network that sees a class for each level of brightness, and is sure of it."""

    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def call(self, images):
        return keras.ops.one_hot(keras.ops.round(keras.ops.mean(images, (1, 2, 3))), self.classes)


@pytest.fixture(scope="module")
def network():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, Brightness()(image))


def _images(levels):
    return np.stack([np.full((8, 8, 1), 30 * level, "float32") for level in levels])


def test_figures_equal_those_counted_by_hand(network):
    truth, seen = [0, 0, 1, 2, 6, 6, 3], [0, 1, 1, 2, 0, 6, 3]
    found = evaluate(network, Split(_images(seen), np.array(truth, "int32")), LABELS, batch_size=3)
    assert found.top1 == pytest.approx(5 / 7)
    assert found.top5 == pytest.approx(6 / 7)  # class 6 is the least probable of what looks like 0
    np.testing.assert_array_equal(found.images, [2, 1, 1, 1, 0, 0, 2])
    np.testing.assert_array_equal(found.class_accuracy, [0.5, 1, 1, 1, np.nan, np.nan, 0.5])
    assert found.confusion[0, 1] == found.confusion[6, 0] == 1
    probabilities = network.predict(_images(seen), verbose=0)
    assert found.loss == pytest.approx(-np.log(probabilities[np.arange(7), truth]).mean(), rel=1e-5)


@pytest.mark.slow
def test_the_files_hold_what_was_found(network, tmp_path):
    found = evaluate(network, Split(_images([0, 1, 1]), np.array([0, 1, 2], "int32")), LABELS)
    found.write(tmp_path / "new")
    state = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert {"loss": found.loss, "top1": found.top1, "top5": found.top5, "images": 3}.items() <= state.items()
    with open(tmp_path / "new" / "confusion.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["true class", *LABELS]
    assert rows[2] == ["c", "0", "1", "0", "0", "0", "0", "0"]
    with open(tmp_path / "new" / "classes.csv", newline="") as file:
        assert list(csv.reader(file))[3][:3] == ["c", "1", "0.0"]
    with Image.open(tmp_path / "new" / "confusion.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.slow
def test_areas_are_those_of_the_predictions_that_are_written(network, tmp_path):
    random = np.random.default_rng(0)
    truth = random.integers(0, 6, 60).astype("int32")  # nothing of the last class
    found = evaluate(network, Split(_images(truth + random.integers(-2, 3, 60)), truth), LABELS, resamples=50)
    found.write(tmp_path)
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    with open(tmp_path / "classes.csv", newline="") as file:
        classes = [*csv.DictReader(file)]
    areas = []
    for label, figures in zip(LABELS[:6], classes, strict=False):
        there = [row["truth"] == label for row in rows]
        areas.append(roc_auc_score(there, [float(row[f"probability: {label}"]) for row in rows]))
        assert float(figures["auroc"]) == pytest.approx(areas[-1], abs=1e-9)
        assert float(figures["auroc_low"]) <= areas[-1] <= float(figures["auroc_high"])
    assert classes[6]["auroc"] == "nan"
    state = json.loads((tmp_path / "evaluation.json").read_text())
    assert state["auroc"] == pytest.approx(np.mean(areas), abs=1e-9)
    assert state["calibration_error"] == calibration_error(truth, found.probabilities)


@pytest.mark.slow
def test_many_classes_take_no_square_of_memory_and_no_picture(tmp_path):
    classes = 60_000
    image = keras.Input((8, 8, 1))
    model = keras.Model(image, Level(classes)(image))
    labels, truth = [f"class {index}" for index in range(classes)], np.array([0, 59_999, 7, 7], "int32")
    (tmp_path / "confusion.png").write_bytes(b"of an earlier network")
    tracemalloc.start()
    found = evaluate(model, Split(_images([0, 1, 7 / 30, 2]), truth), labels, batch_size=2)
    found.write(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6
    assert (found.top1, found.images[7], found.class_accuracy[7]) == (0.5, 2, 0.5)
    names = ["classes.csv", "confusion.csv", "evaluation.json", "predictions.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    with open(tmp_path / "confusion.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["true class", "predicted class", "images"]
    assert sorted(rows) == sorted([[labels[t], labels[p], "1"] for t, p in ((0, 0), (59_999, 30), (7, 7), (7, 60))])
    assert len((tmp_path / "classes.csv").read_text().splitlines()) == classes + 1


@pytest.mark.slow
def test_names_of_any_kind_keep_their_row(network, tmp_path):
    labels = ["a\nb", 'c,"d', "\udcff", "$x_$", "猫", "[b]", ":smile:"]
    evaluate(network, Split(_images([0, 1]), np.array([0, 1], "int32")), labels).write(tmp_path)
    for name in ("classes.csv", "confusion.csv"):
        with open(tmp_path / name, newline="", encoding="utf-8") as file:
            assert [row[0] for row in csv.reader(file)][1:] == [*labels[:2], r"\udcff", *labels[3:]]


def test_no_images_are_no_evaluation(network):
    with pytest.raises(ValueError, match="There are no images to evaluate on"):
        evaluate(network, Split(_images([0])[:0], np.zeros(0, "int32")), LABELS)


def test_ten_crops_average_over_corners_centre_and_mirror_images():
    image = keras.Input((14, 14, 1))
    corner = keras.layers.Reshape((1,))(image[:, :1, :1])
    model = keras.Model(image, keras.layers.Concatenate()([corner / 255, 1 - corner / 255]))
    picture = np.zeros((1, 14, 14, 1), "float32")
    picture[:, :, 7:] = 255  # enlarged to 16: dark 8, bright 8
    found = evaluate(model, Split(picture, np.zeros(1, "int32")), ["bright", "dark"], 1, ten_crop=True)
    assert found.loss == pytest.approx(-np.log(0.5), rel=1e-5)  # the five crops begin dark, their mirror images bright


def test_images_or_labels_of_another_network_are_refused(network):
    with pytest.raises(ValueError, match=r"takes images of \(8, 8, 1\). Received: images of \(9, 8, 1\)"):
        evaluate(network, Split(np.zeros((2, 9, 8, 1), "float32"), np.zeros(2, "int32")), LABELS)
    with pytest.raises(ValueError, match=r"has 7 classes. Received: images of 2 classes"):
        evaluate(network, Split(_images([0]), np.zeros(1, "int32")), ["a", "b"])


def test_predictions_come_for_every_file_in_order(network, tmp_path):
    levels = [3, 0, 6, 1, 2]
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for path, level in zip(paths, levels, strict=True):
        Image.fromarray(np.full((8, 8), 30 * level, "uint8")).save(path)
    found = list(predict(network, paths, batch_size=2))
    assert [path for path, _ in found] == paths
    assert [row.argmax() for _, row in found] == levels


def test_a_bad_file_ends_it_or_is_left_out(network, tmp_path):
    Image.fromarray(np.full((8, 8), 60, "uint8")).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [tmp_path / "bad.png", tmp_path / "gone.png", tmp_path / "good.png"]
    with pytest.raises(ValueError, match="cannot be decoded as an image"):
        list(predict(network, paths))
    errors = []
    ((path, row),) = predict(network, paths, bad=errors.append)
    assert (path, row.argmax(), len(errors)) == (tmp_path / "good.png", 2, 2)
