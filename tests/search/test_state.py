"""A search's folder, and oracles that are killed at every write they do."""

import json
import multiprocessing.pool

import pytest

from keras_densenet.search import ALGORITHMS, Budget, DenseNetHyperModel, robust
from keras_densenet.search.state import claim
from tests.tiny import ONE_POINT

OPTIONS = {
    "random": {"max_trials": 4},
    "grid": {"max_trials": 9},
    "bayesian": {"max_trials": 4, "num_initial_points": 3},
    "hyperband": {"max_epochs": 3, "factor": 2},
    "asha": {"max_trials": 5, "max_epochs": 4, "factor": 2},
}
SETTINGS = {"space": {"growth_rate": [4, 12]}, "seed": 1}


def make(kind, folder, **options):
    """One of the oracles over two hyperparameters, that goes on with what the folder holds."""
    second = {"bottleneck": [False, True]} if kind == "grid" else {"learning_rate": (0.01, 1.0)}
    hypermodel = DenseNetHyperModel((8, 8, 1), 2, **{**ONE_POINT, "growth_rate": (1, 3), **second})
    oracle = ALGORITHMS[kind](hypermodel, Budget(), "val_loss", seed=1, **{**OPTIONS[kind], **options})
    oracle.verbose = 0
    oracle._set_project_dir(folder.parent, folder.name)
    if (folder / "oracle.json").exists():
        oracle.reload()
    else:
        oracle.begin()
    return oracle


def search(oracle, tuner="tuner0"):
    """Runs trials until the oracle wants no more."""
    while (trial := oracle.create_trial(tuner)).status == "RUNNING":
        assert not oracle.trials[trial.trial_id].metrics.metrics
        values = trial.hyperparameters.values
        loss = sum(float(values.get(name, 0)) for name in ("growth_rate", "bottleneck", "learning_rate"))
        oracle.update_trial(trial.trial_id, {"val_loss": loss})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
    assert trial.status == "STOPPED"


def outcome(oracle):
    """What a search found: the point, score and status of each trial, which ended once."""
    assert sorted(oracle.end_order) == sorted(oracle.trials) == sorted(oracle.start_order)
    return {name: (t.hyperparameters.values, t.score, t.status) for name, t in oracle.trials.items()}


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_search_killed_before_or_after_any_write_ends_like_an_unbroken_one(kind, tmp_path, monkeypatch):
    whole = make(kind, tmp_path / "whole")
    search(whole)
    whole.check_outcome()
    writes = []
    write = robust.write_json

    def killing(path, state):
        if len(writes) == moment and before:
            raise Killed
        write(path, state)
        writes.append(path)
        if len(writes) - 1 == moment:
            raise Killed

    monkeypatch.setattr(robust, "write_json", killing)
    moment, before, kills = 1, True, 0  # the first write is that of a search without trials
    while True:
        writes.clear()
        folder = tmp_path / f"{moment}-{before}"
        oracle = make(kind, folder)
        try:
            search(oracle)
        except Killed:
            kills += 1
        else:
            break
        unbroken, moment_then, moment = moment, moment, -1
        oracle = make(kind, folder)
        search(oracle)
        found = outcome(oracle)
        if kind == "bayesian":  # its generator begins anew
            assert len(found) == len(whole.trials)
        else:
            assert found == outcome(whole), unbroken
        moment, before = (moment_then, False) if before else (moment_then + 1, True)
    assert kills >= 9 * len(whole.trials)


def test_each_tuner_keeps_its_trial_through_a_restart_of_the_chief(tmp_path):
    oracle = make("random", tmp_path / "s")
    first, second = (oracle.create_trial(name).trial_id for name in ("one", "two"))
    oracle = make("random", tmp_path / "s")
    oracle.heartbeat_timeout = 60
    assert oracle.create_trial("three").trial_id not in (first, second)
    assert oracle.create_trial("one").trial_id == first
    assert oracle.create_trial("two").trial_id == second


def test_a_single_process_takes_over_the_trials_of_workers(tmp_path):
    oracle = make("random", tmp_path / "s")
    trials = {oracle.create_trial(name).trial_id for name in ("one", "two")}
    oracle = make("random", tmp_path / "s")
    assert oracle.create_trial("tuner0").trial_id in trials
    search(oracle)
    assert len(outcome(oracle)) == 4


def test_who_asks_while_others_run_waits_for_what_they_may_lose(tmp_path):
    oracle = make("random", tmp_path / "s", max_trials=1)
    oracle.heartbeat_timeout = 60
    trial = oracle.create_trial("one")
    assert oracle.create_trial("two").status == "IDLE"
    oracle.heartbeat_timeout = 0
    assert oracle.create_trial("two").trial_id == trial.trial_id
    assert not oracle.is_over()
    oracle.update_trial(trial.trial_id, {"val_loss": 1})
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert oracle.is_over()


def test_reports_count_once(tmp_path):
    oracle = make("random", tmp_path / "s")
    trial = oracle.create_trial("one")
    for loss in (3, 2):
        oracle.update_trial(trial.trial_id, {"val_loss": loss}, step=4)
    trial.status = "COMPLETED"
    for _ in range(2):
        oracle.end_trial(trial)
    oracle.update_trial(trial.trial_id, {"val_loss": 9}, step=5)
    assert oracle.trials[trial.trial_id].score == 2
    assert oracle.end_order == [trial.trial_id]
    assert oracle._run_times[trial.trial_id] == 1


def test_a_trial_that_runs_again_after_an_error_runs_on_through_a_restart(tmp_path):
    oracle = make("random", tmp_path / "s", max_retries_per_trial=1)
    trial = oracle.create_trial("one")
    trial.status = "INVALID"
    oracle.end_trial(trial)
    assert oracle.create_trial("one").trial_id == trial.trial_id
    oracle = make("random", tmp_path / "s", max_retries_per_trial=1)
    assert oracle.trials[trial.trial_id].status == "RUNNING"
    assert oracle._run_times[trial.trial_id] == 1
    search(oracle, "one")
    assert len(outcome(oracle)) == 4


def test_three_failures_in_a_row_stop_the_search_and_a_new_call_goes_on(tmp_path):
    def fail(oracle, times):
        for _ in range(times):
            trial = oracle.create_trial("one")
            trial.status, trial.message = "FAILED", "Traceback\nValueError: too wide\n"
            oracle.end_trial(trial)

    oracle = make("random", tmp_path / "s")
    fail(oracle, 3)
    assert oracle.create_trial("one").status == "STOPPED"
    assert oracle.is_over()
    with pytest.raises(RuntimeError, match=r"^No trial completed, the last one, 2, with: ValueError: too wide$"):
        oracle.check_outcome()
    oracle = make("random", tmp_path / "s")
    search(oracle)
    oracle.check_outcome()
    assert [trial.status for trial in oracle.trials.values()] == ["FAILED"] * 3 + ["COMPLETED"]


def test_a_trial_that_loses_its_workers_again_and_again_has_failed(tmp_path):
    oracle = make("random", tmp_path / "s", max_losses=2, max_trials=1)
    oracle.heartbeat_timeout = 0
    for name in ("one", "two"):
        assert oracle.create_trial(name).status == "RUNNING"
    assert oracle.create_trial("three").status == "STOPPED"
    with pytest.raises(RuntimeError, match="2 workers were lost while they ran it"):
        oracle.check_outcome()


def test_an_exception_does_not_keep_the_lock(tmp_path):
    oracle = make("random", tmp_path / "s")
    trial = oracle.create_trial("one")
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle.update_trial(trial.trial_id, {"accuracy": 1})
    with multiprocessing.pool.ThreadPool(1) as pool:
        assert pool.apply_async(oracle.create_trial, ["two"]).get(10).status == "RUNNING"


def test_bad_state_is_named(tmp_path):
    folder = tmp_path / "s"
    search(make("random", folder))
    state = (folder / "oracle.json").read_text()
    for name, content in {"oracle.json": state[:99], "trial_1/trial.json": "{}", "trial_2/trial.json": "[1]"}.items():
        kept = (folder / name).read_text()
        (folder / name).write_text(content)
        with pytest.raises(
            ValueError, match=rf"{name}' is not a search's state as it was written \(\w+: .*\): restore"
        ):
            make("random", folder)
        (folder / name).write_text(kept)
    (folder / "oracle.json").unlink()
    with pytest.raises(ValueError, match=r"trial_0/trial.json' has no oracle.json beside it"):
        make("random", folder)


def test_a_folder_is_one_searchs(tmp_path):
    folder = tmp_path / "s"
    with claim(folder, SETTINGS):
        (folder / "trial_0").mkdir()
        with pytest.raises(ValueError, match="Another process searches in"), claim(folder, SETTINGS):
            pass
    (folder / ".oracle.json-abcdefgh").mkdir()  # what a kill leaves
    with claim(folder, SETTINGS):
        assert sorted(path.name for path in folder.iterdir()) == ["search.json", "trial_0"]
    other = {"space": {"growth_rate": [4, 24]}, "seed": 1}
    different = r"other settings \(space.growth_rate \[4, 12\], now \[4, 24\]\)"
    with pytest.raises(ValueError, match=different), claim(folder, other):
        pass
    with claim(folder, other, overwrite=True):
        assert [path.name for path in folder.iterdir()] == ["search.json"]
    assert json.loads((folder / "search.json").read_text())["settings"] == other


def test_nothing_that_is_no_searchs_is_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"holds 'thesis.tex' and no search"), claim(tmp_path, SETTINGS, overwrite):
            pass
    assert (tmp_path / "thesis.tex").exists()


def test_an_unreadable_record_is_named_and_can_be_overwritten(tmp_path):
    (tmp_path / "search.json").write_text('{"settin')
    with pytest.raises(ValueError, match=r"search.json' is not a search's state"), claim(tmp_path, SETTINGS):
        pass
    with claim(tmp_path, SETTINGS, overwrite=True):
        pass
    with claim(tmp_path, SETTINGS):
        pass
