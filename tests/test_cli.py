"""The command line: what it does, tells and refuses."""

import dataclasses
import hashlib
import io
import json
import shutil
import sys

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import data, training
from keras_densenet.cli import app, in_options, run
from tests import tiny
from tests.data.pictures import write_classes

TINY = ["--blocks", "1,1", "--growth-rate", "4", "--image-size", "16", "--epochs", "1", "--batch-size", "128"]


@pytest.fixture(scope="module")
def digits_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = CliRunner().invoke(app, ["train", "--out", str(folder), *TINY])
    assert result.exit_code == 0, result.output
    return folder, result.output


def _run(*arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["keras-densenet", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run()
    return end.value.code


@pytest.mark.slow
def test_training_tells_the_cost_and_each_epoch(digits_run):
    folder, output = digits_run
    assert "parameters" in output
    assert "epoch   1/1" in output
    assert "images/s" in output
    assert "test accuracy" in output
    assert (folder / "model.keras").is_file()


@pytest.mark.slow
def test_evaluate_gives_what_training_gave(digits_run):
    folder, output = digits_run
    told = output[output.index("test accuracy") :].split()[2]
    result = CliRunner().invoke(app, ["evaluate", str(folder), "--out", str(folder / "test")])
    assert f"accuracy {told}, top 5 " in result.output
    names = {"classes.csv", "confusion.csv", "confusion.png", "evaluation.json", "predictions.csv"}
    names |= {"roc.png", "precision_recall.png", "reliability.png"}
    assert {path.name for path in (folder / "test").iterdir()} == names


@pytest.mark.slow
def test_calibrate_keeps_a_temperature_in_the_run(digits_run, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(digits_run[0], tmp_path / "run")
    result = CliRunner().invoke(app, ["calibrate", str(run)])
    assert "digits validation images: temperature " in result.output
    state = json.loads((run / "calibration.json").read_text())
    assert kd.training.load_model(run)[0].decisions.temperature == state["temperature"]
    assert state["loss"]["after"] <= state["loss"]["before"] + 1e-6
    assert state["top1"]["after"] == state["top1"]["before"]
    assert (run / "calibration.png").is_file()
    capsys.readouterr()
    assert _run("calibrate", run, "--thresholds", "f1", monkeypatch=monkeypatch) == 2
    assert "Error: --thresholds must be left out where an image has one class" in capsys.readouterr().err


def test_predict_names_the_most_probable_classes(digits_run, tmp_path):
    image = data.load_digits().test.images[0, :, :, 0].astype("uint8")
    Image.fromarray(image).save(tmp_path / "digit.png")
    result = CliRunner().invoke(app, ["predict", str(digits_run[0]), str(tmp_path / "digit.png"), "--top", "2"])
    assert result.exit_code == 0, result.output
    assert result.output.count("%") == 2


def test_predict_takes_folders_and_paths_from_standard_input_and_answers_in_json(digits_run, tmp_path):
    for index in range(3):
        pixels = data.load_digits().test.images[index, :, :, 0].astype("uint8")
        path = tmp_path / "deep" / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "deep" / "broken.png").write_bytes(b"no image")
    arguments = ["predict", str(digits_run[0]), str(tmp_path / "deep"), "-", "--json", "--skip-bad", "--top", "10"]
    result = CliRunner().invoke(app, arguments, input=f"{path}\n")
    assert result.exit_code == 0, result.output
    assert "skipped: " in result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["image"].rsplit("/")[-1] for answer in answers] == ["0.png", "1.png", "2.png", "2.png"]
    assert answers[2] == answers[3]
    assert sum(answer["probability"] for answer in answers[0]["predictions"]) == pytest.approx(1, abs=1e-4)


def test_every_field_of_a_recipe_is_an_option():
    text = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).output
    for field in dataclasses.fields(training.Recipe):
        assert f"--{field.name.replace('_', '-')}" in text


@pytest.mark.slow
def test_options_change_the_named_recipe(tmp_path):
    arguments = ["--recipe", "svhn", "--drops", "0.5", "--drops", "0.9", "--no-xla", "--epochs", "1"]
    result = CliRunner().invoke(app, ["train", "--out", str(tmp_path), *TINY, *arguments])
    assert result.exit_code == 0, result.output
    kept = json.loads((tmp_path / "run.json").read_text())["arguments"]
    expected = dataclasses.replace(training.RECIPES["svhn"], drops=(0.5, 0.9), xla=False, epochs=1, batch_size=128)
    assert kept["recipe"] == json.loads(json.dumps(dataclasses.asdict(expected)))
    assert kept["network"]["dropout_rate"] == 0.2


@pytest.mark.slow
def test_export_writes_the_next_version(digits_run, tmp_path):
    for version in ("1", "2"):
        result = CliRunner().invoke(app, ["export", str(digits_run[0]), "--out", str(tmp_path), "--name", "d"])
        assert result.exit_code == 0, result.output
        assert (tmp_path / "d" / version / "saved_model.pb").is_file()


@pytest.mark.slow
def test_an_export_tells_where_its_weights_come_from_and_how_good_they_are(digits_run, tmp_path):
    folder, _ = digits_run
    arguments = ["export", str(folder), "--out", str(tmp_path), "--name", "d", "--xla", "--check"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "the GPU image of TensorFlow Serving refuses such models" in result.output
    assert "every warm-up request answered" in result.output
    card, run = (json.loads(path.read_text()) for path in (tmp_path / "d/1/model_card.json", folder / "run.json"))
    assert (card["training"], card["accuracy"]) == (run["arguments"], run["test"])
    digest = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
    assert card["weights"] == {"file": "model.keras", "sha256": digest}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the converter's own
def test_another_format_takes_preprocessing_and_images_to_quantize_with(tmp_path, monkeypatch, capsys):
    tiny.network(stem="imagenet").save(tmp_path / "net.keras")
    write_classes(tmp_path / "photos", {"a": 4}, height=19, width=16)
    arguments = ["export", tmp_path / "net.keras", "--out", tmp_path / "served", "--format", "litert"]
    options = ["--preprocessing", "caffe", "--representative", tmp_path / "photos"]
    result = CliRunner().invoke(app, [*map(str, [*arguments, *options])])
    assert result.exit_code == 0, result.output
    assert "model.tflite; off Keras by" in result.output
    for wrong, sentence in {
        "--preprocessing none": "Received: mode='none'",
        "--levels P3 --check": "--levels, --check cannot be used with --format litert",
    }.items():
        assert _run(*arguments, *wrong.split(), monkeypatch=monkeypatch) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_folder_with_a_bad_file_is_trained_on_when_told_to_skip_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos, out = write_classes(tmp_path / "photos", {"ant": 20, "bee": 20}, height=12, width=12), tmp_path / "run"
    (photos / "ant" / "broken.png").write_bytes(b"no image")
    train = ["train", "--data", photos, "--out", out, "--depth", "10", "--growth-rate", "4", "--epochs", "1"]
    train += ["--batch-size", "8", "--no-xla", "--tensorboard"]
    assert _run(*train, monkeypatch=monkeypatch) == 2
    assert "1 not an image that Pillow reads: ant/broken.png" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    for command in (train, ["evaluate", out]):
        result = CliRunner().invoke(app, [*map(str, command), "--skip-bad"])
        assert result.exit_code == 0, result.output
        assert "bad data skipped: 1 not an image" in result.output
    assert "top 5" not in result.output  # of two classes
    assert list((out / "tensorboard").rglob("events.*"))
    assert _run("evaluate", out, "--data", "digits", monkeypatch=monkeypatch) == 2
    assert "The network's classes are ant, bee. Received: images of 0, 1, 2" in capsys.readouterr().err


def test_models_lists_the_whole_family():
    output = CliRunner().invoke(app, ["models"], env={"COLUMNS": "80"}).output  # which no pipe cares for
    rows = [line.split()[0] for line in output.splitlines()[1:]]
    assert rows == kd.list_models()
    assert "7,978,856" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--model", "densenet-bc-100-13", "--out", "x"], "Did you mean densenet-bc-100-12"),
        (["train", "--depth", "41", "--out", "x"], "--depth must be 6n + 4"),
        (["train", "--theta", "1.5", "--out", "x"], "--theta must be in (0, 1]. Received: --theta 1.5"),
        (
            ["train", "--data", "cifar", "--out", "x"],
            "'cifar' is neither a folder nor a data set of TensorFlow Datasets.",
        ),
        (
            ["train", "--recipe", "fast", "--out", "x"],
            "--recipe must be one of short, cifar, svhn, imagenet",
        ),
        (
            ["train", "--accumulate", "3", "--out", "x"],
            "--accumulate must divide the --batch-size. Received: --accumulate 3",
        ),
        (["train", "--strategy", "multi_worker", "--out", "x"], "needs the environment variable TF_CONFIG"),
        (["evaluate", "nowhere"], "'nowhere' is not there"),
        (["evaluate", "."], "'.' is a folder without a run. Give a run's folder or a .keras file"),
        (
            ["train", "--growth-rate", "0", "--out", "x"],
            "--growth-rate must be a whole number >= 1. Received: --growth-rate 0",
        ),
        (
            ["convert", "nowhere.h5", "--model", "densenet-bc-40-12", "--out", "x.h5", "--layout", "keras"],
            "There is no weights file 'nowhere.h5': give a path, or a name of list_weights() (keras-densenet weights)",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_left(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments, monkeypatch=monkeypatch) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert sentence in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_arguments_in_an_error_are_options_but_what_is_quoted_stays():
    command = typer.main.get_command(app)
    for message, expected in {
        "batch_size must be 1. Received: batch_size=0": "--batch-size must be 1. Received: --batch-size 0",
        "'runs/epochs=3/batch_size' has epochs=3": "'runs/epochs=3/batch_size' has --epochs 3",
        "the run's batch_size='x'": "the run's --batch-size 'x'",
        "give data, --theta or xla_theta=1": "give data, --theta or xla_theta=1",
    }.items():
        assert in_options(message, command, ["train", "--out", "x"]) == expected
    assert in_options("theta=1", command, ["models"]) == "theta=1"


def test_names_of_any_kind_reach_the_user_as_they_are(digits_run, tmp_path):
    names = ["IMG_1 [edited].png", "d[/photo].png", ":smile:.png", "a very long name " * 10 + ".png", "猫.png"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(data.load_digits().test.images[0, :, :, 0].astype("uint8")).save(path)
    labels = [f"[{digit}] $_$ :zap:" for digit in range(9)] + ["a\tb"]
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in names]
    arguments = ["predict", str(digits_run[0]), *paths, "--labels", str(tmp_path / "labels.txt"), "--top", "10"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = result.output.splitlines()[1:]
    assert len(rows) == len(paths)
    for row, path in zip(rows, paths, strict=True):
        assert path in row
        assert all(f"{label} " in row for label in [*labels[:9], r"a\tb"])


def test_what_the_output_cannot_encode_is_an_escape(digits_run, tmp_path, monkeypatch):
    path = tmp_path / "猫\udcff.png"
    Image.fromarray(data.load_digits().test.images[0, :, :, 0].astype("uint8")).save(path)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert _run("predict", digits_run[0], path, monkeypatch=monkeypatch) == 0
    sys.stdout.flush()
    assert rb"/\u732b\udcff.png  " in sys.stdout.buffer.getvalue()


def test_labels_must_be_one_for_each_class(digits_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    arguments = ["predict", digits_run[0], "x.png", "--labels", tmp_path / "labels.txt"]
    assert _run(*arguments, monkeypatch=monkeypatch) == 2
    assert "must name 10 classes, one a line. Received: 2 lines" in capsys.readouterr().err


def test_an_error_with_a_name_of_any_kind_is_one_sentence(digits_run, tmp_path, monkeypatch, capfd):
    for name in ("d[/photo].png", "[red].png", ":smile:.png", "\udcff.png"):
        assert _run("predict", digits_run[0], tmp_path / name, monkeypatch=monkeypatch) == 2
        told = capfd.readouterr().err.splitlines()
        assert told == [f"Error: There is no image {str(tmp_path / name)!r}"]


def test_a_file_that_is_no_image_is_one_sentence(digits_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert _run("predict", digits_run[0], tmp_path / "bad.png", monkeypatch=monkeypatch) == 2
    assert "cannot be decoded as an image" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_network_that_does_not_say_what_it_takes_is_told_of_in_one_line(tmp_path):
    model = tiny.network()
    model.save(tmp_path / "raw.keras")
    model.preprocessing = "unit"
    model.save(tmp_path / "known.keras")
    Image.fromarray(np.zeros((9, 8, 3), "uint8")).save(tmp_path / "a.png")

    def told(name):
        return CliRunner().invoke(app, ["predict", str(tmp_path / name), str(tmp_path / "a.png")]).stderr.splitlines()

    raw, known = told("raw.keras"), told("known.keras")
    assert [len(raw), len(known)] == [1, 0]
    assert raw[0].startswith(f"{tmp_path / 'raw.keras'}: nothing in front of this network turns pixels into")
