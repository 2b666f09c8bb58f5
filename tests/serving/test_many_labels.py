"""Networks of many labels through the whole chain: evaluate, calibrate, predict, explain, export, request."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import data, training
from keras_densenet.cli import app
from keras_densenet.data import Split, Splits
from keras_densenet.models import Decisions
from keras_densenet.serving import NativeModel, export_file
from tests.serving.server import Server
from tests.tiny import network
from tests.weights.test_published import XRAYS, publish

pytestmark = pytest.mark.slow

LABELS = ["left side", "top $_$", "sideways/猫"]


def pictures(count, seed):
    """Grey pictures of which any part may be bright, and 15 % of the labels unknown."""
    random = np.random.default_rng(seed)
    there = (random.random((count, 3)) < 0.4).astype("int8")
    images = random.integers(0, 160, (count, 12, 12, 1))
    for image, (left, top, stripes) in zip(images, there, strict=True):
        image[:, :4] += 70 * left
        image[:4] += 70 * top
        image[6::2] += 70 * stripes
    there[random.random(there.shape) < 0.15] = -1
    return Split(np.minimum(images, 255).astype("uint8"), there)


@pytest.fixture(scope="module")
def splits():
    return Splits(pictures(192, 0), pictures(100, 1), pictures(100, 2), LABELS)


@pytest.fixture(scope="module")
def folder(splits, tmp_path_factory):
    """A trained network's file, and photos."""
    folder = tmp_path_factory.mktemp("many")
    keras.utils.set_random_seed(0)
    model = kd.DenseNet(
        blocks=(1, 1),
        growth_rate=4,
        stem="cifar",
        input_shape=(12, 12, 1),
        classes=3,
        dropout_rate=0.1,
        classifier_activation="sigmoid",
    ).with_preprocessing({"mean": 100.0, "std": 60.0})
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", jit_compile=False)
    model.fit(splits.train.images, np.maximum(splits.train.labels, 0), batch_size=32, epochs=12, verbose=0)
    model.labels = LABELS
    model.save(folder / "model.keras")
    (folder / "photos").mkdir()
    for index in range(4):
        Image.fromarray(splits.test.images[index, :, :, 0]).save(folder / f"photos/{index}.png")
    return folder


def invoke(*words, code=0):
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def test_from_a_trained_file_to_a_servers_answer(folder, splits, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "load", lambda *_, **__: splits)
    file, photos = folder / "model.keras", folder / "photos"

    told = invoke("calibrate", file, "--data", "table", "--thresholds", "specificity=0.8", "--out", tmp_path / "c")
    assert "calibration error" in told
    decisions = keras.models.load_model(file).decisions
    assert decisions.rule == "specificity=0.8"
    assert (tmp_path / "c/calibration.png").is_file()

    told = invoke("evaluate", file, "--data", "table", "--resamples", "100", "--out", tmp_path / "test")
    assert "table test images: loss " in told
    assert "AUROC 0." in told
    state = json.loads((tmp_path / "test/evaluation.json").read_text())
    assert state["auroc_interval"][0] < state["auroc"] < state["auroc_interval"][1]
    assert state["auroc"] > 0.8

    lines = [json.loads(line) for line in invoke("predict", file, photos, "--json").splitlines()]
    found = training.evaluate(keras.models.load_model(file), splits.test, LABELS)
    for line, row in zip(lines, found.probabilities, strict=False):
        for entry in line["predictions"]:
            label = LABELS.index(entry["label"])
            assert entry["probability"] == pytest.approx(row[label], abs=1e-6)
            assert entry["threshold"] == decisions.thresholds[label]
            assert entry["positive"] == (row[label] >= decisions.thresholds[label])
        assert len(line["predictions"]) == 3
    assert "present (from" in invoke("predict", file, photos)

    told = invoke("explain", "cam", file, photos, "--label", LABELS[2], "--out", tmp_path / "cam")
    assert (tmp_path / "cam/0-sideways_猫.png").is_file()
    assert f"{found.probabilities[0, 2]:.1%}" in told

    told = invoke("export", file, "--out", tmp_path / "served", "--name", "net", "--check")
    assert "every warm-up request answered" in told
    card = json.loads((tmp_path / "served/net/1/model_card.json").read_text())
    assert card["activation"] == "sigmoid"
    assert Decisions(**card["decisions"]) == Decisions(*map(_listed, decisions))
    with Server(tmp_path / "served", "net") as server:
        for url in (server.grpc_url, server.rest_url):
            answers = [json.loads(line) for line in invoke("request", url, photos, "--json").splitlines()]
            for answer, line in zip(answers, lines, strict=True):
                assert [entry["label"] for entry in answer["predictions"]] == [e["label"] for e in line["predictions"]]
                for one, other in zip(answer["predictions"], line["predictions"], strict=True):
                    assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
                    assert one["positive"] == other["positive"]


def _listed(value):
    return [*value] if isinstance(value, tuple) else value


def test_the_written_predictions_have_the_written_figures(folder, splits, tmp_path):
    model = keras.models.load_model(folder / "model.keras")
    training.evaluate(model, splits.test, LABELS, resamples=20).write(tmp_path)
    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = [*csv.DictReader(file)]
    with open(tmp_path / "labels.csv", newline="") as file:
        table = [*csv.DictReader(file)]
    state = json.loads((tmp_path / "evaluation.json").read_text())
    found = []
    for label, figures in zip(LABELS, table, strict=True):
        pairs = [(row[f"truth: {label}"], row[f"probability: {label}"]) for row in rows if row[f"truth: {label}"]]
        truth, values = np.array(pairs, float).T
        found.append((roc_auc_score(truth, values), average_precision_score(truth, values)))
        assert float(figures["auroc"]) == pytest.approx(found[-1][0], abs=1e-9)
        assert float(figures["average_precision"]) == pytest.approx(found[-1][1], abs=1e-9)
        assert (int(figures["known"]), int(figures["images"])) == (len(truth), truth.sum())
        positive = values >= np.float32(figures["threshold"])
        assert float(figures["sensitivity"]) == pytest.approx(positive[truth == 1].mean())
        assert float(figures["specificity"]) == pytest.approx((~positive)[truth == 0].mean())
    assert [state["auroc"], state["average_precision"]] == pytest.approx(np.mean(found, 0), abs=1e-9)
    for name in ("roc", "precision_recall", "confusion", "reliability"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 300


def test_predictions_tell_how_sure_they_are(folder):
    words = "predict", folder / "model.keras", folder / "photos", "--samples", "5", "--json"
    lines = [json.loads(line) for line in invoke(*words).splitlines()]
    assert len(lines) == 4
    assert all(line["mutual_information"] > 0 for line in lines)
    assert all(entry["spread"] > 0 for line in lines for entry in line["predictions"])
    assert " +- " in invoke(*words[:-1])
    assert [json.loads(line) for line in invoke(*words).splitlines()] == lines
    assert [json.loads(line) for line in invoke(*words, "--seed", "1").splitlines()] != lines


def test_exports_answer_after_the_temperature(tmp_path):
    model = network(classes=3, classifier_activation=None)
    model.decisions = Decisions((0.2, None, 0.7), temperature=4.0)
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 9, 8, 3)).astype("float32")
    expected = 1 / (1 + np.exp(-model(pixels).numpy() / 4))
    native = NativeModel(kd.export_saved_model(model, tmp_path, "net", activation="sigmoid"))
    found = native.run("serving_default", {"image": pixels})
    native.close()
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(found["positive"], expected >= np.float32([0.2, np.inf, 0.7]))
    order = (-found["probabilities"]).argsort(-1)
    np.testing.assert_array_equal(found["top_positive"], np.take_along_axis(found["positive"], order, -1))
    assert found["positive"].dtype == bool
    _, deviation = export_file(model, tmp_path, "litert", activation="sigmoid")
    assert deviation < 1e-4
    one_class = NativeModel(kd.export_saved_model(network(), tmp_path, "one"))
    assert "positive" not in one_class.run("serving_default", {"image": pixels})
    one_class.close()


def test_published_findings_enter_the_chain_without_training(monkeypatch, tmp_path):
    publish(XRAYS, monkeypatch, tmp_path)
    row = kd.weights_info(XRAYS)
    model = kd.create_model("tiny", weights=XRAYS)
    assert model.decisions == Decisions(row.thresholds, rule=f"published with {XRAYS}")
    model.save(tmp_path / "xrays.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 1), "uint8")
    for index, image in enumerate(pixels):
        Image.fromarray(image[:, :, 0]).save(tmp_path / f"{index}.png")
    names = ["Effusion", "no such finding", "Atelectasis"]  # of a table of one's own
    split = Split(pixels, np.array([[1, 0, -1], [0, 1, 1], [1, 1, 0], [0, 0, 1]], "int8"))
    monkeypatch.setattr(data, "load", lambda *_, **__: Splits(split, split, split, names))

    told = invoke("evaluate", tmp_path / "xrays.keras", "--data", "table", "--out", tmp_path / "test")
    assert "table: the network knows nothing of no such finding" in told
    with open(tmp_path / "test/labels.csv", newline="") as file:
        known = {row["label"]: int(row["known"]) for row in csv.DictReader(file) if row["label"]}
    assert {label: count for label, count in known.items() if count} == {"Effusion": 4, "Atelectasis": 3}

    (line, *_) = invoke("predict", tmp_path / "xrays.keras", tmp_path / "0.png", "--json").splitlines()
    entries = json.loads(line)["predictions"]
    limits = dict(zip(row.labels, row.thresholds, strict=True))
    assert len(entries) == 11  # of 18 outputs, seven were not trained
    assert all(entry["threshold"] == limits[entry["label"]] for entry in entries)

    told = invoke("export", tmp_path / "xrays.keras", "--out", tmp_path / "served", "--name", "net")
    with Server(tmp_path / "served", "net") as server:
        (line,) = invoke("request", server.grpc_url, tmp_path / "0.png", "--json").splitlines()
    for entry in json.loads(line)["predictions"]:
        assert entry["positive"] == (entry["probability"] >= np.float32(limits[entry["label"]]))


def test_images_of_other_labels_or_of_one_class_are_told_apart(folder, splits):
    model = keras.models.load_model(folder / "model.keras")
    with pytest.raises(ValueError, match=r"The network's labels are left side, .*: images with the labels a, b"):
        training.evaluation.arranged(splits.test._replace(labels=splits.test.labels[:, :2]), ["a", "b"], LABELS)
    with pytest.raises(ValueError, match=r"The network has 3 labels\. Received: images of 2 labels"):
        training.evaluate(model, splits.test._replace(labels=splits.test.labels[:, :2]), LABELS[:2])
