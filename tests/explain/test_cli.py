"""`keras-densenet explain` and `describe`."""

import json
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_densenet import explain
from keras_densenet.cli import app, run
from tests.oracle import randomise
from tests.tiny import network


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An untrained network for grey images of 9x8 pixels, behind preprocessing."""
    path = tmp_path_factory.mktemp("explain") / "model.keras"
    randomise(network(input_shape=(9, 8, 1))).with_preprocessing("unit").save(path)
    return path


@pytest.fixture
def images(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        pixels = np.random.default_rng(len(place)).integers(0, 256, (20, 30), "uint8")
        Image.fromarray(pixels).save(tmp_path / place / "x.png")
    return tmp_path


def _invoke(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_reuse_draws_the_map_and_tells_the_papers_observations(file, tmp_path):
    output = _invoke("explain", "reuse", file, "--out", tmp_path / "map.png")
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert rows["block1"][5] == "transition1"
    assert rows["block2"][1] == "classifier"  # one layer has no choice
    assert (tmp_path / "map.png").is_file()
    assert "x_0" in _invoke("explain", "reuse", file, "--scaled", "--out", tmp_path / "map.svg")


@pytest.mark.slow
def test_cam_writes_a_picture_for_each_image(file, images):
    arguments = ["--class", "3", "--level", "P0", "--method", "grad-cam++", "--out", images / "out"]
    output = _invoke("explain", "cam", file, images / "a", images / "b" / "x.png", *arguments)
    assert sorted(path.name for path in (images / "out").iterdir()) == ["x-3.png", "x-3_.png"]
    assert "x-3_.png" in output
    rows = [line.split() for line in output.splitlines()]
    assert rows[0] == ["image", "class", "probability", "picture"]
    assert all(0 < float(row[2].removesuffix("%")) < 100 for row in rows[1:])


def test_a_cam_covers_the_whole_photo_and_is_darker_where_the_network_did_not_look(file, tmp_path):
    photo = np.full((400, 1600, 3), 200, "uint8")
    photo[:, :100] = (250, 0, 0)  # which a cut of 9x8 in the centre leaves out
    Image.fromarray(photo).save(tmp_path / "wide.png")
    _invoke("explain", "cam", file, tmp_path / "wide.png", "--class", "3", "--out", tmp_path)
    with Image.open(tmp_path / "wide-3.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    assert width == 1024
    assert 256 < height < 300  # with a line of text
    np.testing.assert_array_equal(pixels[100, [10, 100]], [[125, 0, 0], [100, 100, 100]])
    left, right = 512 - 256 * 8 / 9 / 2, 512 + 256 * 8 / 9 / 2
    seen = np.flatnonzero((pixels[128].max(-1) > 120) | (np.ptp(pixels[128], -1) > 20))
    seen = seen[seen > 100]
    assert seen.min() == pytest.approx(left, abs=3)
    assert seen.max() == pytest.approx(right, abs=3)
    text = pixels[257:]
    assert (text.min() < 100, text.max()) == (True, 255)  # the caption


def test_a_cam_shows_values_of_any_range(file, tmp_path):
    values = np.zeros((400, 1600), "float32")
    values[:, :20], values[:, 20:40] = -1000, 3000  # which a cut of 9x8 in the centre leaves out
    np.save(tmp_path / "ct.npy", values)
    _invoke("explain", "cam", file, tmp_path / "ct.npy", "--class", "3", "--out", tmp_path)
    with Image.open(tmp_path / "ct-3.png") as picture:
        shown = np.asarray(picture.convert("L"))[100, [4, 20, 100]]
    np.testing.assert_allclose(shown, [0, 127, 31], atol=1)


def test_captions_may_hold_anything(tmp_path):
    for caption in ("$5_$ 3%", "猫\ufdd0", "long " * 40):
        explain.draw_captioned(np.zeros((20, 30, 3), "uint8"), caption, tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size[0] > 500


@pytest.mark.slow
def test_gradients_are_drawn_on_training_images(tmp_path):
    network(input_shape=(32, 32, 1), classes=10).with_preprocessing("unit").save(tmp_path / "m.keras")
    arguments = ["--data", "digits", "--limit", "8", "--out", tmp_path / "g.svg"]
    output = _invoke("explain", "gradients", tmp_path / "m.keras", *arguments)
    assert "9 kernels" in output
    assert "transition1" in (tmp_path / "g.svg").read_text()


@pytest.mark.slow
def test_gradients_of_images_of_other_classes_are_refused(tmp_path, monkeypatch, capsys):
    network(input_shape=(32, 32, 1)).with_preprocessing("unit").save(tmp_path / "model.keras")
    monkeypatch.setattr(sys, "argv", ["x", "explain", "gradients", str(tmp_path / "model.keras"), "--data", "digits"])
    for sentence in (
        "labels must be a whole number in 0..4 for each image. Received: 128 images with labels [0, 1, 2, 3, 4, 5,",
        "The network's classes are a, b, c, d, e. Received: images of 0, 1, 2, 3, 4 and 5 more",
    ):
        with pytest.raises(SystemExit):
            run()
        assert sentence in " ".join(capsys.readouterr().err.split())
        (tmp_path / "run.json").write_text(json.dumps({"labels": [*"abcde"]}))


@pytest.mark.parametrize("timed", [True, False])
def test_describe_shows_names_and_files(file, tmp_path, timed):
    arguments = [] if timed else ["--no-time"]
    output = _invoke("describe", file, *arguments, "--out", tmp_path / "n.svg", "--batch-size", "2")
    assert ("%" in output) == timed
    assert "12 -> 6" in output
    assert (tmp_path / "n.svg").is_file()
    if not timed:
        output = _invoke("describe", "densenet264", "--no-time", "--image-size", "128")
        assert "33,337,704" in output
        assert "64x64" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["describe", "densenet122"], "'densenet122' is no run's folder, no .keras file and no model"),
        (["describe", "nowhere/run"], "'nowhere/run' is not there"),
        (["explain", "gradients", "FILE"], "--data must be given for a model without a run.json beside it"),
        (["explain", "reuse", "nowhere"], "'nowhere' is not there"),
        (["explain", "cam", "FILE", "IMAGES", "--class", "dog"], "--class must be the name of a class"),
        (
            ["explain", "cam", "FILE", "IMAGES", "--level", "P9"],
            "--level must be one of P0, P1. Received: --level 'P9'",
        ),
        (["explain", "reuse", "FILE", "--out", "map.xyz"], "must end in .png, .svg or .pdf"),
    ],
)
def test_a_mistake_is_one_sentence(file, images, monkeypatch, capsys, arguments, sentence):
    given = {"FILE": str(file), "IMAGES": str(images)}
    monkeypatch.setattr(sys, "argv", ["keras-densenet", *(given.get(word, word) for word in arguments)])
    monkeypatch.chdir(images)
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert sentence in error
    assert "Traceback" not in error


def test_every_command_has_an_example():
    for command in (["explain", "reuse"], ["explain", "cam"], ["explain", "gradients"], ["describe"]):
        assert "Example: keras-densenet" in _invoke(*command, "--help")
