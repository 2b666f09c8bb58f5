"""A table on the command line: from the training to the evaluation of the same images."""

import pytest
from PIL import Image
from typer.testing import CliRunner

from keras_densenet import training
from keras_densenet.cli import app
from keras_densenet.training.plan import read_plan
from tests.data.pictures import picture
from tests.data.test_table import write_table

pytestmark = pytest.mark.slow

TINY = ["--depth", "10", "--growth-rate", "2", "--batch-size", "10", "--epochs", "1", "--warmup-epochs", "0"]
TINY += ["--no-xla"]


def _call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder of images, a table about them whose columns must be named, and a run on it."""
    folder = tmp_path_factory.mktemp("table")
    (folder / "images").mkdir()
    rows = [("number", "finding", "case")]
    for number in range(60):
        Image.fromarray(picture(number, 8, 8)).save(folder / "images" / f"{number}.png")
        rows.append((f"{number}.png", ["no", "mild", "severe"][number % 3], number // 2))
    write_table(folder / "table.csv", rows)
    columns = ["--column", "path=number", "--column", "label=finding"]
    result = _call("train", "--data", folder / "table.csv", "--images", folder / "images", *columns, *TINY,
                   "--out", folder / "run")  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_a_run_knows_its_table(run):
    folder, output = run
    record = training.load_record(folder / "run")
    assert record["labels"] == ["mild", "no", "severe"]
    assert record["arguments"]["data"] == {
        "source": str(folder / "table.csv"),
        "images": str(folder / "images"),
        "columns": {"path": "number", "label": "finding"},
    }
    assert record["images"]["train"] == 40
    assert f"{folder / 'table.csv'} images" in output


def test_evaluation_finds_the_table_again_and_its_images_where_they_went(run):
    folder, _ = run
    before = training.load_record(folder / "run")["test"]["accuracy"]
    (folder / "images").rename(folder / "moved")
    result = _call("evaluate", folder / "run")
    assert "files that are not there: row 2: 0.png" in str(result.exception)
    result = _call("evaluate", folder / "run", "--images", folder / "moved")
    (folder / "moved").rename(folder / "images")
    assert result.exit_code == 0, result.output
    assert f"{folder / 'table.csv'} test images:" in result.output
    assert f"accuracy {before:.2%}" in result.output


def test_a_search_hands_its_table_over_to_the_training(run, tmp_path):
    folder, _ = run
    pytest.importorskip("keras_tuner")
    tiny = ["--blocks", "1", "--growth-rate", "2", "--theta", "0.5", "--bottleneck", "no", "--dropout-rate", "0"]
    tiny += ["--stem-channels", "4", "--learning-rate", "0.1", "--weight-decay", "1e-4", "--trials", "1", *TINY[4:]]
    columns = ["--column", "path=number", "--column", "label=finding", "--limit", "20"]
    table = ["--data", folder / "table.csv", "--images", folder / "images", *columns]
    result = _call("search", "run", *table, *tiny, "--algorithm", "random", "--out", tmp_path / "search")
    assert result.exit_code == 0, result.output
    data = read_plan(tmp_path / "search" / "best.json").data["name"]
    assert data["images"] == str(folder / "images")
    best = ["--model", tmp_path / "search" / "best.json", "--epochs", "1", "--warmup-epochs", "0", "--no-xla"]
    result = _call("train", *best, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert training.load_record(tmp_path / "run")["arguments"]["data"] == data
    result = _call("train", *best, "--column", "label=case", "--out", tmp_path / "other")
    assert "--column cannot be other than in" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "digits", "--images", "."], "images must be left out of what is no table (.csv, .tsv, .tab)"),
        (["--data", "t.csv", "--column", "number"], "--column must be path, label, split or group, = and a name"),
        (["--data", "t.csv", "--uncertain", "no"], "uncertain must be one of ignore, positive, negative"),
    ],
)
def test_options_of_a_table_that_cannot_be_are_refused(tmp_path, arguments, sentence):
    result = _call("train", *arguments, "--out", tmp_path / "x")
    assert result.exit_code != 0
    assert sentence in str(result.exception)
