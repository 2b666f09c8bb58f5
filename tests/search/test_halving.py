"""Asynchronous successive halving on the closed form of its benchmark; nothing is trained."""

import pytest

from benchmarks.halving import compare, gain, oracle_of, play
from keras_densenet.search.halving import rungs
from tests.search.test_state import make


@pytest.mark.parametrize(
    ("epochs", "factor", "least", "expected"),
    [
        (27, 3, 1, [1, 3, 9, 27]),
        (8, 3, 1, [1, 3, 8]),
        (10, 4, 1, [1, 3, 10]),
        (100, 3, 5, [5, 14, 37, 100]),
        (3, 3, 2, [3]),
        (1, 3, 1, [1]),
    ],
)
def test_rungs_are_about_a_factor_apart_from_the_first_to_the_last_epoch(epochs, factor, least, expected):
    assert rungs(epochs, factor, least) == expected


@pytest.mark.parametrize("options", [{"factor": 1}, {"min_epochs": 0}, {"min_epochs": 28}, {"factor": 2.5}])
def test_rungs_that_are_none_are_refused(options):
    with pytest.raises(ValueError, match="Received: "):
        rungs(27, **options)


@pytest.mark.parametrize("workers", [1, 3, 10])
def test_no_worker_waits_before_all_networks_have_begun_and_the_best_go_on(workers, tmp_path):
    oracle = oracle_of("asha", tmp_path, 1, epochs=9, networks=20)
    ended, waited = play(oracle, 1, workers)
    assert min(waited, default=99) >= 20
    trials = {epoch: {} for epoch in (1, 3, 9)}
    for name, trial in oracle.trials.items():
        trials[trial.hyperparameters.values["tuner/epochs"]][name] = trial
    assert len(trials[1]) == 20
    assert 6 <= len(trials[3]) <= 7  # with one that was passed over
    assert 2 <= len(trials[9]) <= 3
    for before, after in ((1, 3), (3, 9)):
        formers = [trial.hyperparameters.values["tuner/trial_id"] for trial in trials[after].values()]
        assert len(set(formers)) == len(formers)
        assert max(trials[before], key=lambda name: trials[before][name].score) in formers
        for trial, former in zip(trials[after].values(), formers, strict=True):
            there, here = trials[before][former].hyperparameters.values, trial.hyperparameters.values
            assert oracle.hypermodel.network(there) == oracle.hypermodel.network(here)
            assert (here["tuner/initial_epoch"], there["tuner/epochs"]) == (before, before)
    assert ended[-1]["spent"] == sum((20, 2 * len(trials[3]), 6 * len(trials[9])))


def _end(oracle, loss):
    trial = oracle.create_trial("tuner0")
    if trial.status == "RUNNING":
        oracle.update_trial(trial.trial_id, {"val_loss": loss(trial)})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    return trial


def test_losses_that_are_no_numbers_fail_their_trials_and_the_search_goes_on(tmp_path):
    oracle = make("asha", tmp_path / "s", max_trials=9)
    losses = iter([*[float("nan")] * 4, float("inf"), 5.0, 4.0, 3.0, 2.0])
    while _end(oracle, lambda trial: next(losses, 1.0)).status != "STOPPED":
        pass
    states = [trial.status for trial in oracle.trials.values()]
    assert states[:9] == ["FAILED"] * 5 + ["COMPLETED"] * 4
    oracle.check_outcome()
    gone_on = {trial.hyperparameters.values.get("tuner/trial_id") for trial in oracle.trials.values()}
    assert gone_on.isdisjoint(name for name, trial in oracle.trials.items() if trial.status == "FAILED")
    again = make("asha", tmp_path / "s", max_trials=9)
    assert [trial.status for trial in again.trials.values()] == states


def test_of_few_networks_one_is_trained_to_the_end(tmp_path):
    oracle = make("asha", tmp_path / "s", max_trials=2, max_epochs=9, factor=3)
    while _end(oracle, lambda trial: trial.hyperparameters.values["growth_rate"]).status != "STOPPED":
        pass
    epochs = [trial.hyperparameters.values["tuner/epochs"] for trial in oracle.trials.values()]
    assert epochs == [1, 1, 3, 9]


@pytest.mark.slow
def test_asha_finds_what_hyperband_finds_in_half_the_epochs(tmp_path):
    """`python -m benchmarks.halving` compares them over 20 seeds."""
    rows = [compare(seed, tmp_path) for seed in range(1, 5)]
    assert all(row["asha_epochs"] <= row["hyperband_epochs"] / 2 for row in rows)
    mean, error = gain(rows)
    assert mean + error > 0
    assert mean > -0.02
