"""Searches along the Pareto front of accuracy and a cost; only the last ones train."""

import functools
import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.search import Budget, GridSearch, ParetoOptimization, RandomSearch, report
from keras_densenet.search.front import along_the_front, expected_improvement, hypervolume, pareto, staircase
from keras_densenet.search.results import Results
from tests.search.test_search import _search

FEW = {"stem_channels": None, "dropout_rate": 0.0, "learning_rate": 0.1, "weight_decay": 1e-4, "bottleneck": True}
SPACE = kd.DenseNetHyperModel((16, 16, 1), 10, **FEW)
SMALL = kd.DenseNetHyperModel((16, 16, 1), 10, blocks="1:3 1:3 1:3", growth_rate="4:12:4", theta="0.5,1.0", **FEW)
BUDGET = Budget(max_parameters=100_000)
NORMAL = statistics.NormalDist().inv_cdf
POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=12)


def _accuracy(network):
    """A stand-in, which saturates in depth, growth rate and theta."""
    depth, growth_rate, theta = sum(network["blocks"]), network["growth_rate"], network["theta"]
    return 0.98 * (1 - math.exp(-depth / 5)) * (1 - math.exp(-growth_rate / 6)) * (1 - math.exp(-theta / 0.2))


def _oracle(folder, trials, kind=ParetoOptimization, space=SPACE, **options):
    oracle = kind(space, BUDGET, max_trials=trials, **{"seed": 1, **options})
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), "search")
    return oracle


def _end(oracle, trial, noise=None, **figures):
    accuracy = _accuracy(oracle.hypermodel.network(trial.hyperparameters.values))
    seen = accuracy + (noise.normal(0, 0.01) if noise else 0)
    oracle.update_trial(trial.trial_id, {"val_accuracy": seen, **figures})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    return seen, accuracy


def _hypervolume(oracle, corner):
    """Of the true accuracies of what a search with noise takes for its front."""
    noise, found = np.random.default_rng(0), []
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        macs = kd.cost(SPACE.network(trial.hyperparameters.values)).macs
        found.append((math.log(macs), *_end(oracle, trial, noise)))
    costs, seen, true = np.array(found).T
    front = pareto(costs, seen)
    return hypervolume(costs[front], true[front], corner)


@given(POINTS)
def test_a_front_has_what_nothing_beats_the_cheapest_first(points):
    costs, scores = np.array(points, float).T
    found = [(costs[index], scores[index]) for index in pareto(costs, scores)]
    points = set(points)
    expected = {(c, s) for c, s in points if not any(a <= c and b >= s and (a, b) != (c, s) for a, b in points)}
    assert found == sorted(expected)


@given(POINTS, st.tuples(st.integers(0, 10), st.integers(-1, 8)))
def test_a_hypervolume_counts_the_unit_squares_that_a_front_dominates(points, corner):
    limit, floor = corner
    squares = {(x, y) for cost, score in points for x in range(cost, limit) for y in range(floor, score)}
    assert hypervolume(*np.array(points).T, corner) == pytest.approx(len(squares))


@given(POINTS, st.integers(0, 8), st.integers(-2, 10), st.sampled_from([0, 0.5, 3]))
def test_what_a_point_is_expected_to_add_is_the_mean_of_what_it_adds(points, cost, mean, spread):
    costs, scores = np.array(points, float).T
    corner = 9, 0
    (gain,) = expected_improvement([cost], [mean], [spread], staircase(costs, scores, corner))
    drawn = [mean + spread * NORMAL((index + 0.5) / 100) for index in range(100)]
    added = [hypervolume([*costs, cost], [*scores, score], corner) for score in drawn]
    assert gain == pytest.approx(np.mean(added) - hypervolume(costs, scores, corner), rel=0.03, abs=0.03)


@pytest.mark.slow
def test_its_front_is_larger_than_random_searchs(tmp_path):
    """`benchmarks.front` has twenty seeds of 60 trials and the whole space; the corner is chosen as there."""
    networks = [*filter(BUDGET.fits, map(SPACE.network, _oracle(tmp_path, 1, RandomSearch).points()))]
    cheap, dear = (pick(networks, key=lambda network: kd.cost(network).macs) for pick in (min, max))
    corner = math.log(kd.cost(dear).macs), _accuracy(cheap)
    steered = _hypervolume(_oracle(tmp_path / "a", 36, minimise="macs", seed=1), corner)
    drawn = _hypervolume(_oracle(tmp_path / "b", 36, RandomSearch, seed=1), corner)
    assert steered > 1.15 * drawn


@pytest.mark.slow
@pytest.mark.parametrize("minimise", ["activation_bytes", "milliseconds"])
def test_all_points_fit_are_new_and_are_the_same_after_kills(minimise, tmp_path):
    def run(folder, killed):
        oracle, points = _oracle(folder, 7, space=SMALL, minimise=minimise), []
        while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
            points.append(trial.hyperparameters.values)
            layers = sum(SMALL.network(points[-1])["blocks"])
            _end(oracle, trial, **({"milliseconds": 0.2 * layers + 1} if minimise == "milliseconds" else {}))
            if killed:
                oracle = _oracle(folder, 7, space=SMALL, minimise=minimise)
                oracle.reload()
        costs = [oracle._costs([trial])[0] for trial in oracle.front()]
        assert costs == sorted(costs)
        assert oracle.front()[-1].score == max(trial.score for trial in oracle.trials.values())
        return points

    points = run(tmp_path / "a", killed=False)
    assert run(tmp_path / "b", killed=True) == points
    assert len({json.dumps(point) for point in points}) == 7
    assert all(BUDGET.fits(SMALL.network(point)) for point in points)


@pytest.mark.slow
def test_workers_that_ask_at_once_get_different_points(tmp_path):
    oracle = _oracle(tmp_path, 18, space=SMALL)
    for _ in range(6):
        _end(oracle, oracle.create_trial("tuner0"))
    trials = [oracle.create_trial(f"tuner{number}") for number in range(3)]
    networks = [SMALL.network(trial.hyperparameters.values) for trial in trials]
    assert not any(a == b for index, a in enumerate(networks) for b in networks[:index])


def test_a_small_space_is_searched_to_its_last_point(tmp_path):
    space = kd.DenseNetHyperModel((16, 16, 1), 10, blocks="1:2 1:2 2", growth_rate="4:8:4", theta=0.5, **FEW)
    oracle = _oracle(tmp_path, 100, space=space)
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        _end(oracle, trial)
    assert len(oracle.trials) == oracle.share.fitting == 8
    assert "nothing new within the budget is left" in oracle.ending


def test_what_is_minimised_steers_where_it_can():
    algorithms = kd.search.ALGORITHMS
    assert all(along_the_front(kind, None) is kind for kind in algorithms.values())
    assert along_the_front(algorithms["bayesian"], "macs").func is ParetoOptimization
    assert along_the_front(GridSearch, "macs") is GridSearch
    with pytest.raises(ValueError, match=r"minimise must be one of parameters, .*, milliseconds. Received: .*'x'"):
        along_the_front(RandomSearch, "x")
    with pytest.raises(ValueError, match=r"minimise must come with algorithm='bayesian', .* with Hyperband"):
        along_the_front(algorithms["hyperband"], "macs")


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front") / "a"
    search = functools.partial(_search, folder, algorithm="bayesian", minimise="milliseconds")
    search(trials=1)
    return folder, search(trials=3, confirm=1)  # goes on


@pytest.mark.slow
def test_milliseconds_are_measured_with_each_trials_network_and_kept(timed):
    folder, results = timed
    assert results.settings["minimise"] == results.cost == "milliseconds"
    for row in results.rows:
        trial = json.loads((folder / f"trial_{row['trial']}" / "trial.json").read_text())
        (observation,) = trial["metrics"]["metrics"]["milliseconds"]["observations"]
        assert [row["milliseconds"]] == observation["value"]
        assert 0 < row["milliseconds"] < 1000
    starred = report.front(report.ranked(results.rows), "milliseconds")
    assert results.front() == starred
    confirmed = {row["trial"].split(", ")[1] for row in results.references}
    assert confirmed == {f"trial {row['trial']}" for row in [*starred, results.best()]}
    assert all(row["milliseconds"] > 0 for row in results.references)


@pytest.mark.slow
def test_the_best_within_a_cost_is_handed_over_in_a_file_of_its_own(timed):
    folder, results = timed
    cheapest = results.front()[0]
    at = math.ceil(cheapest["milliseconds"] * 1000) / 1000
    assert results.best(at)["val_accuracy"] >= cheapest["val_accuracy"]
    assert results.best(at)["milliseconds"] <= at
    done = CliRunner().invoke(app, ["search", "best", str(folder), "--at", str(at)])
    assert done.exit_code == 0, done.output
    call, command = done.output.splitlines()[-2:]
    assert command.endswith(f"best-at-{at}.json --out runs/best-at-{at}")
    plan = json.loads((folder / f"best-at-{at}.json").read_text())
    assert plan["trial"] == results.best(at)["trial"]
    assert plan["call"] == call
    with pytest.raises(ValueError, match=r"The cheapest trial has [\d.]+ milliseconds. Received: at=0.001"):
        results.best(0.001)


@pytest.mark.slow
def test_the_report_draws_the_front_as_it_grew(timed, tmp_path):
    folder, results = timed
    with Image.open(folder / "pareto.png") as four:
        assert four.size == (2560, 600)
    report.draw(tmp_path / "a.svg", results.rows, minimised="milliseconds")
    text = (tmp_path / "a.svg").read_text()
    assert [f"<!-- front after {count} trials -->" in text for count in (1, 2, 3)] == [True] * 3
    assert "<!-- ms for an image -->" in text
    assert "front after" not in _drawn(tmp_path / "b.svg", results.rows)
    assert Results(folder).cost == "milliseconds"


def _drawn(path, rows):
    report.draw(path, rows)
    return path.read_text()
