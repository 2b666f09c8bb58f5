"""The scripts in `tuning/`, in processes of their own."""

import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import sysconfig
import time

import psutil
import pytest
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet import cli, training
from keras_densenet.cli.search import space_names, space_of
from keras_densenet.search import ALGORITHMS, Budget, DenseNetHyperModel, RandomSearch
from keras_densenet.search.launch import launched
from tests.data.pictures import write_classes

TUNING = pathlib.Path(__file__).parents[2] / "tuning"
TINY = [
    *("--limit", "100", "--image-size", "8", "--epochs", "1", "--warmup-epochs", "0", "--batch-size", "50"),
    *("--blocks", "1 1:2", "--growth-rate", "3:8:1", "--bottleneck", "no", "--max-parameters", "5k"),
    *("--algorithm", "random"),
]
LONG = 900  # seconds; a tenth of it is enough on an idle machine
pytestmark = pytest.mark.timeout(2 * LONG)


@pytest.fixture
def start():
    """Starts a script; what still runs at the end of the test is killed."""
    started = []

    def start(*arguments, script="search.py", folder=None):
        command, pipe = [sys.executable, TUNING / script, *map(str, arguments)], subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _completed(folder):
    files = folder.glob("trial_*/trial.json")
    return sum(json.loads(file.read_text())["status"] == "COMPLETED" for file in files)


@pytest.mark.slow
def test_a_search_runs_as_it_stands_and_is_quiet(tmp_path, start):
    search = start(*TINY, "--trials", 2, "--out", tmp_path / "a")
    output, errors = search.communicate(timeout=LONG)
    assert search.returncode == 0, errors
    assert errors == ""
    assert "kd.DenseNet(blocks=(1, " in output
    assert (tmp_path / "a" / "pareto.png").is_file()
    report = start(tmp_path / "a", script="report.py")
    output, errors = report.communicate(timeout=LONG)
    assert "2 completed" in output
    assert errors == ""


@pytest.mark.slow
def test_the_command_that_a_search_prints_trains_its_best_on_its_data_at_its_size(tmp_path, start):
    """From another folder, with blanks in all names: at the cost that the search found."""
    photos = write_classes(tmp_path / "my photos", {"ant": 40, "bee": 40})
    (tmp_path / "else where").mkdir()
    images = [*TINY[2:], "--data", photos.relative_to(tmp_path), "--seed", 4, "--batch-size", 8]
    search = start(*images, "--trials", 1, "--out", tmp_path / "a b", folder=tmp_path)
    output, errors = search.communicate(timeout=LONG)
    assert search.returncode == 0, errors
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    printed = output.splitlines()[-1]
    done = subprocess.run(
        ["bash", "-c", f"{printed} --epochs 1 --no-xla"],
        cwd=tmp_path / "else where",
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "a b" / "best.json").read_text())
    run = tmp_path / "else where" / "runs" / "best"
    record, cost = training.load_record(run), kd.cost(training.load_model(run)[0])
    assert (cost.trainable_parameters, cost.macs) == (plan["figures"]["parameters"], plan["figures"]["macs"])
    assert record["arguments"]["data"] == str(photos)
    trial = training.load_record(tmp_path / "a b" / "trial_0" / "run0" / "model.keras")
    assert record["images"] == trial["images"]
    assert record["arguments"]["recipe"]["seed"] == 4  # by which images are held out
    assert record["arguments"]["network"] == trial["arguments"]["network"]


@pytest.mark.slow
def test_ctrl_c_says_in_a_line_what_is_kept(tmp_path, start):
    """The search would take hours; the signal comes when a trial trains."""
    search = start(*TINY, "--epochs", "100000", "--trials", 1, "--out", tmp_path / "a")
    deadline = time.monotonic() + LONG
    while not list(tmp_path.glob("a/trial_0/run0/history.csv")):
        assert search.poll() is None, search.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    search.send_signal(signal.SIGINT)
    output, errors = search.communicate(timeout=LONG)
    assert (search.returncode, errors) == (130, "")
    told = f"interrupted; {tmp_path}/a keeps what was trained, and the same command goes on from there"
    assert output.splitlines()[-1] == told


WITHOUT = """
import runpy, sys
class Missing:
    def find_spec(name, *_):
        if name.split(".")[0] == "keras_tuner":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing)
script, *sys.argv[1:] = sys.argv[1:]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["tuning/search.py", "--trials", "1"], ["tuning/report.py", "a"], ["keras-densenet", "search", "best", "a"]],
)
def test_without_its_extra_a_search_is_one_sentence(tmp_path, command):
    place = pathlib.Path(sysconfig.get_path("scripts")) if command[0] == "keras-densenet" else TUNING.parent
    command = [sys.executable, "-c", WITHOUT, str(place / command[0]), *command[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG)
    assert done.returncode != 0
    sentence = "A search needs KerasTuner: pip install 'keras-densenet[search]'"
    assert " ".join(done.stderr.split()).removeprefix("Error: ") == sentence


@pytest.mark.slow
def test_workers_share_a_search_whose_chief_is_killed(tmp_path, start):
    """Two chiefs with two workers each, the first of which is killed: all its processes are gone, nothing is lost."""
    command = [*TINY, "--trials", 5, "--workers", 2, "--out", tmp_path / "a"]
    search = start(*command)
    deadline = time.monotonic() + LONG
    while not (tmp_path / "a").exists() or _completed(tmp_path / "a") < 2:
        assert search.poll() is None, search.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = psutil.Process(search.pid).children()
    assert len(workers) == 2
    search.send_signal(signal.SIGKILL)
    search.communicate()
    psutil.wait_procs(workers, LONG)
    assert not any(worker.is_running() for worker in workers)
    output, errors = start(*command).communicate(timeout=LONG)
    assert "5 completed" in output, errors
    with open(tmp_path / "a" / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["blocks"], row["growth_rate"], row["learning_rate"]) for row in rows}) == 5
    assert all(row["epochs"] == "1.0" for row in rows)


def test_a_process_is_a_chief_as_long_as_its_workers_run(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "somebody")
    monkeypatch.delenv("KERASTUNER_ORACLE_IP", raising=False)
    before = dict(os.environ)
    with contextlib.suppress(OSError), launched(2, ["-c", ""], tmp_path / "a"):
        assert os.environ["KERASTUNER_TUNER_ID"] == "chief"
        raise OSError
    assert dict(os.environ) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-parameters", "10"], "Nothing in the space is within the budget: its smallest network has"),
        (["--max-parameters", "many"], "A limit must be a number such as 200000, 200k, 1.5M or 2G. Received: 'many'"),
        (["--growth-rate", "9:3"], "must be fixed (12), listed (8,12,16) or a range"),
        (["--space", "none"], "--space must be one of cifar, imagenet, mobile, or a file"),
        (["--algorithm", "best"], "algorithm must be one of random, bayesian, hyperband, asha, grid"),
        (["--workers", "0"], "workers must be at least 1, or 0 where there is a host"),
        (["--host", "192.0.2.1"], "--host must be an address of this machine ("),
        (["--host", "0.0.0.0"], "--host must be the address at which others reach this machine"),
        (["--workers", "2"], "workers are started by hand where KERASTUNER_ORACLE_IP names a chief"),
        (["--algorithm", "grid", "--search-seed", "2"], "--search-seed cannot be used with --algorithm grid"),
        (["--min-epochs", "2"], "--min-epochs must come with --algorithm 'asha'. Received: --algorithm 'bayesian'"),
        (["--algorithm", "asha", "--factor", "1"], "--factor must be at least 2, for one in so many goes on"),
        (
            ["--algorithm", "asha", "--min-epochs", "9"],
            "--min-epochs must be at most the recipe's 8 epochs. Received: --min-epochs 9",
        ),
        (["--trials", "0"], "bayesian needs a number of trials; only grid and hyperband have an end of their own"),
        (["--limit", "5000"], "images must be at most 1,257, which there are for training. Received: 5000"),
        (["--blocks", "1:2 3", "--equal-blocks"], "--equal-blocks needs the same values for all blocks"),
        (["--data-dir", "."], "--data-dir is for Fashion-MNIST and TensorFlow Datasets: leave it out for 'digits'"),
        (["--drops", "0.5"], '--drops must come with --schedule "steps"'),
        (["--executions", "0"], "executions must be a whole number >= 1"),
        (["--trials", "-1"], "trials must be a whole number >= 1"),
        (["--limit", "9"], "images must be at least 20, two of each class. Received: 9"),
        (["--image-size", "2"], "The space has no valid network"),
        (
            ["--minimise", "time"],
            "--minimise must be one of parameters, macs, activation_bytes, milliseconds.",
        ),
        (
            ["--minimise", "macs", "--algorithm", "hyperband"],
            "--minimise must come with --algorithm 'bayesian', or",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.setattr(sys, "argv", ["keras-densenet", "search", "run", "--out", str(tmp_path / "a"), *arguments])
    if "--workers" in arguments:
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(SystemExit) as end:
        cli.run()
    assert end.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert sentence in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "budget"),
    [
        ("cifar", (32, 32, 3), {"max_parameters": 1_000_000}),
        ("mobile", (96, 96, 3), {"max_parameters": 1_000_000, "max_macs": 50_000_000, "max_activation_bytes": 10**9}),
        ("imagenet", (224, 224, 3), {"max_parameters": 8_000_000, "max_macs": 2_900_000_000}),
    ],
)
def test_each_space_has_networks_within_the_budget_that_its_file_names(name, shape, budget):
    about, space = space_of(name)
    assert f"keras-densenet search run --space {name}" in about
    hypermodel = DenseNetHyperModel(shape, 10, **space)
    share = RandomSearch(hypermodel, Budget(**budget)).share
    assert 0.01 < share.fitting / share.points < 0.9


def test_the_spaces_and_recipes_are_listed_with_their_values():
    spaces, recipes = (CliRunner().invoke(cli.app, words).output for words in (["search", "spaces"], ["recipes"]))
    for name in space_names():
        about, space = space_of(name)
        assert f"{name} " in spaces
        assert about.splitlines()[0] in spaces
        assert all(f"{key} {value}" in spaces for key, value in space.items())
    rows = {line.split()[0]: line.split()[1:] for line in recipes.splitlines()}
    assert rows["field"] == list(training.RECIPES)
    assert rows["epochs"] == [str(recipe.epochs) for recipe in training.RECIPES.values()]
    assert rows["augmentation"] == [recipe.augmentation for recipe in training.RECIPES.values()]
    assert list(rows)[1:] == [field.name for field in dataclasses.fields(training.Recipe)]


def test_a_file_of_ones_own_is_a_space(tmp_path):
    (tmp_path / "mine.py").write_text("'Mine.'\nSPACE = {'growth_rate': 12}\n")
    assert space_of(str(tmp_path / "mine.py")) == ("Mine.", {"growth_rate": 12})
    (tmp_path / "none.py").write_text("SPACES = 1\n")
    with pytest.raises(ValueError, match="must define SPACE"):
        space_of(str(tmp_path / "none.py"))


def test_help_names_the_algorithms():
    text = CliRunner().invoke(cli.app, ["search", "run", "--help"], env={"COLUMNS": "200"}).output
    assert all(name in text for name in ALGORITHMS)
