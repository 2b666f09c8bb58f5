"""Budgets and algorithms; trials get made-up scores, nothing is trained."""

import io

import pytest
import rich.console

import keras_densenet as kd
from keras_densenet.search import ALGORITHMS, Budget
from keras_densenet.search.progress import Watch

SHAPE = (16, 16, 1)
FEW = {"stem_channels": None, "dropout_rate": 0.0, "learning_rate": 0.1, "weight_decay": 1e-4, "bottleneck": True}


def _oracle(algorithm, budget, folder, trials=20, **space):
    hypermodel = kd.DenseNetHyperModel(SHAPE, 10, **space)
    specific = {"max_epochs": 9} if algorithm == "hyperband" else {}
    oracle = ALGORITHMS[algorithm](hypermodel, budget, max_trials=trials, seed=1, **specific)
    oracle.verbose = 0
    oracle._set_project_dir(str(folder), "search")
    return oracle


def _run(oracle):
    """Runs a search whose accuracy is best at a growth rate of 10; returns its points."""
    points = []
    while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
        points.append(trial.hyperparameters.values)
        growth_rate = oracle.hypermodel.network(trial.hyperparameters.values)["growth_rate"]
        oracle.update_trial(trial.trial_id, {"val_accuracy": 1 / (1 + abs(growth_rate - 10))})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert trial.status == "STOPPED"
    return points


def _distinct(points):
    return len({tuple(sorted(point.items())) for point in points})


def _tenth(**space):
    """A budget that a tenth of a space meets."""
    free = _share_oracle(space)
    sizes = sorted(kd.cost(free.hypermodel.network(free.draw())).trainable_parameters for _ in range(500))
    return Budget(max_parameters=sizes[50])


def _share_oracle(space):
    return ALGORITHMS["random"](kd.DenseNetHyperModel(SHAPE, 10, **space), Budget(), seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_with_a_budget_that_a_tenth_meets_all_trials_fit_and_are_distinct(algorithm, tmp_path):
    budget = _tenth()
    oracle = _oracle(algorithm, budget, tmp_path, trials=30)
    assert 0.05 < oracle.share.fitting / oracle.share.points < 0.2
    points = _run(oracle)
    assert len(points) == _distinct(points) == 30
    for point in points:
        assert kd.cost(oracle.hypermodel.network(point)).trainable_parameters <= budget.max_parameters
    assert oracle.ending is None


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid"])
def test_a_space_is_searched_to_its_last_point_that_fits(algorithm, tmp_path):
    space = {"blocks": "1:3 1:3", "growth_rate": "4:8:4", "theta": 0.5, **FEW}
    oracle = _oracle(algorithm, Budget(max_parameters=4000), tmp_path, trials=100, **space)
    assert oracle.share.exact
    assert oracle.share.points == 18
    assert 3 < oracle.share.fitting < 18
    points = _run(oracle)
    assert len(points) == _distinct(points) == oracle.share.fitting
    assert "nothing new within the budget is left after" in oracle.ending


def test_hyperband_goes_on_with_the_best_and_keeps_the_budget(tmp_path):
    budget = _tenth()
    oracle = _oracle("hyperband", budget, tmp_path, trials=None)
    points = _run(oracle)
    rounds = [point for point in points if "tuner/trial_id" in point]
    assert rounds
    for point in rounds:
        before = oracle.trials[point["tuner/trial_id"]].hyperparameters.values
        assert oracle.hypermodel.network(before) == oracle.hypermodel.network(point)
        assert before["tuner/epochs"] == point["tuner/initial_epoch"]
    assert all(oracle.fits(point) for point in points)
    assert max(point["tuner/epochs"] for point in points) == 9


@pytest.mark.slow
def test_bayesian_search_finds_the_best_growth_rate(tmp_path):
    space = {"growth_rate": "4:40:1", "theta": "0.3:1.0", "blocks": "1:4 1:4", **FEW}
    oracle = _oracle("bayesian", Budget(), tmp_path, trials=24, **space)
    points = _run(oracle)
    assert sum(abs(point["growth_rate"] - 10) <= 1 for point in points[8:]) > 6


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "bayesian", "grid", "hyperband"])
def test_a_search_goes_on_where_a_killed_one_was(algorithm, tmp_path):
    space = {"blocks": "1:3 1:3", "growth_rate": "4:8:2", "theta": "0.3:1.0", **FEW}
    oracle = _oracle(algorithm, Budget(max_parameters=8000), tmp_path, trials=12, **space)
    for _ in range(5):
        trial = oracle.create_trial("tuner0")
        oracle.update_trial(trial.trial_id, {"val_accuracy": 0.5})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    again = _oracle(algorithm, Budget(max_parameters=8000), tmp_path, trials=12, **space)
    again.reload()
    _run(again)
    points = [trial.hyperparameters.values for trial in again.trials.values()]
    assert len(points) == 12
    if algorithm != "hyperband":  # which trains a point in several rounds
        assert _distinct(points) == 12


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"max_parameters": 10}, r"Nothing in the space .* has [\d,]+ parameters, max_parameters=10$"),
        ({"max_macs": 100}, r"smallest network has [\d,]+ macs, max_macs=100$"),
        ({"max_activation_bytes": 100}, r"smallest network has [\d,]+ activation bytes, max_activation_bytes=100$"),
    ],
)
@pytest.mark.parametrize("space", [{}, {"growth_rate": "4:8:2", "theta": 0.5, **FEW}])
def test_an_impossible_budget_is_told_before_any_trial(budget, sentence, space):
    with pytest.raises(ValueError, match=sentence):
        ALGORITHMS["random"](kd.DenseNetHyperModel(SHAPE, 10, **space), Budget(**budget))


def test_a_space_without_a_valid_network_is_told():
    hypermodel = kd.DenseNetHyperModel((8, 8, 1), 10, blocks="1:2 1:2 1:2 1:2 1:2")
    with pytest.raises(ValueError, match=r"The space has no valid network: input_shape must be at least 16x16"):
        ALGORITHMS["grid"](hypermodel, Budget())


def test_activation_bytes_are_those_of_the_batch():
    network = {"depth": 22, "growth_rate": 4, "input_shape": SHAPE, "classes": 10}
    bytes_of = kd.cost(network).activation_bytes(32, training=True)
    assert Budget(max_activation_bytes=bytes_of, batch_size=32).fits(network)
    assert not Budget(max_activation_bytes=bytes_of, batch_size=33).fits(network)


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match=r"max_macs must be positive. Received: max_macs=0"):
        Budget(max_macs=0)


@pytest.mark.parametrize("objective", ["accuracy", ["val_accuracy", "parameters"]])
def test_another_objective_or_a_sum_of_two_is_refused(objective):
    with pytest.raises(ValueError, match=r"one of val_accuracy, .*val_auroc.*; .* Pareto front of both\. Received"):
        ALGORITHMS["random"](kd.DenseNetHyperModel(SHAPE, 10), Budget(), objective)


def test_a_trial_that_is_handed_out_again_is_told_once(tmp_path):
    _oracle("random", Budget(), tmp_path).create_trial("tuner0")
    again, console = _oracle("random", Budget(), tmp_path), rich.console.Console(record=True, file=io.StringIO())
    Watch(again, console)
    again.reload()
    again.create_trial("tuner0")
    again.create_trial("tuner0")
    assert console.export_text().count("trial 00 (1 of 20): blocks") == 1
