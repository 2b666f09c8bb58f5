"""Chief and workers in processes of their own, which are killed: `KILLS=10 SEED=1 pytest ...` kills more, elsewhere."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import time

import grpc
import pytest
from keras_tuner.src.engine.base_tuner import BaseTuner

from keras_densenet.compat import keras_tuner as of_keras_tuner
from keras_densenet.search import ALGORITHMS, Budget, DenseNetHyperModel, state, worker
from keras_densenet.search import cluster as cluster_module
from keras_densenet.search.cluster import RobustTuner
from keras_densenet.search.state import claim
from tests.tiny import ONE_POINT

pytestmark = pytest.mark.slow

# Processes are forked from one that has imported everything and done nothing else.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
STEPS = 6
TRIALS = 8


class Tuner(RobustTuner, BaseTuner):
    """Counts a trial's steps in its folder, and goes on where it stopped."""

    def run_trial(self, trial, seconds, fails=False, freezes=False):
        first, until = trial, trial.hyperparameters.values.get("tuner/epochs", STEPS)
        while (former := first.hyperparameters.values.get("tuner/trial_id")) is not None:
            first = self.oracle.get_trial(former)
        folder = self.folder / f"trial_{first.trial_id}"
        folder.mkdir(exist_ok=True)
        steps = folder / "steps"
        if fails:
            raise ValueError("the moon is full")
        for step in range(int(steps.read_text()) if steps.exists() else 0, until):
            time.sleep(seconds)
            if freezes and not (self.folder / "frozen").exists():
                (self.folder / "frozen").touch()
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(3 * self.oracle.heartbeat)
            self.oracle.check()
            state.write_json(steps, step + 1)
        return trial.hyperparameters.get("growth_rate")


class DyingService(cluster_module._Servicer):
    """Is killed when it has answered for the n-th time, before the answer leaves."""

    left = 0

    @classmethod
    def die(cls, method, times):
        answer = getattr(cls, method)

        def answer_and_die(*args):
            answered = answer(*args)
            cls.left -= 1
            if not cls.left:
                os.kill(os.getpid(), signal.SIGKILL)
            return answered

        cls.left = times
        setattr(cls, method, answer_and_die)
        cluster_module._Servicer = cls


def run(
    folder,
    port,
    name,
    seconds=0.05,
    algorithm="random",
    versions=None,
    settings=None,
    patience=99,
    dies=(),
    token="a secret",
    **options,
):
    """One process of a search; writes why it failed to a file."""
    if name != "single":
        os.environ.update(KERASTUNER_ORACLE_IP="127.0.0.1", KERASTUNER_ORACLE_PORT=str(port), KERASTUNER_TUNER_ID=name)
        os.environ.update({worker.TOKEN: token} if token else {})
    if versions:
        worker.versions = lambda: {**state.versions(), **versions}
    if dies:
        DyingService.die(*dies)
    points, trials = (TRIALS, TRIALS + 1) if algorithm == "grid" else (99, TRIALS)
    rungs = {"max_epochs": STEPS, "factor": 2} if algorithm == "asha" else {}
    hypermodel = DenseNetHyperModel((8, 8, 1), 2, **{**ONE_POINT, "growth_rate": (1, points)})
    try:
        with claim(folder, {"seed": 1}) if name in ("chief", "single") else contextlib.nullcontext():
            tuner = Tuner(
                ALGORITHMS[algorithm](hypermodel, Budget(), "val_loss", max_trials=trials, seed=1, **rungs),
                directory=folder.parent,
                project_name=folder.name,
                settings=settings,
                heartbeat=0.2,
                heartbeat_timeout=2,
                patience=patience,
            )
            tuner.folder, tuner.oracle.verbose = folder, 0
            tuner.search(seconds, **options)
    except (ValueError, OSError, RuntimeError) as error:
        (folder / f"{name}.error").write_text(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


@pytest.fixture
def cluster(tmp_path):
    """Starts processes of a search; what still runs at the end of the test is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []

    def start(name, folder=tmp_path / "s", target=run, **options):
        folder.mkdir(exist_ok=True)
        started.append(CONTEXT.Process(target=target, args=(folder, port, name), kwargs=options))
        started[-1].start()
        return started[-1]

    start.folder, start.port = tmp_path / "s", port
    yield start
    for process in started:
        process.kill()
        process.join(10)


def wait(*processes, seconds=200):
    """Waits for processes; returns their exit codes."""
    end = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, end - time.monotonic()))
    return [process.exitcode for process in processes]


def wait_for(path, seconds=150):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.02)


def assert_whole(folder):
    """Every trial completed, was run to its end, and counts once; a network that went on did so where it was."""
    oracle = json.loads((folder / "oracle.json").read_text())
    trials = {name: json.loads((folder / f"trial_{name}" / "trial.json").read_text()) for name in oracle["start_order"]}
    points = {name: trial["hyperparameters"]["values"] for name, trial in trials.items()}
    assert [int(name) for name in points] == [*range(len(points))]
    new = [name for name, values in points.items() if "tuner/trial_id" not in values]
    assert len(new) == TRIALS
    assert len({points[name]["growth_rate"] for name in new}) == TRIALS
    steps, formers = dict.fromkeys(new, STEPS), [points[name]["tuner/trial_id"] for name in points if name not in new]
    assert len({*formers}) == len(formers)
    assert sorted(oracle["end_order"]) == oracle["start_order"]
    assert not oracle["ongoing_trials"]
    assert not oracle["retry_queue"]
    for name, trial in trials.items():
        assert trial["status"] == "COMPLETED", trial["message"]
        assert trial["score"] == trial["hyperparameters"]["values"]["growth_rate"]
        first, until = name, points[name].get("tuner/epochs", STEPS)
        while first not in new:
            first = points[first]["tuner/trial_id"]
        steps[first] = max(until, steps[first]) if name != first else until
        (observation,) = trial["metrics"]["metrics"]["val_loss"]["observations"]
        assert len(observation["value"]) == 1
    for name in new:
        assert (folder / f"trial_{name}" / "steps").read_text().strip() == str(steps[name])
    assert oracle["run_times"] == dict.fromkeys(oracle["start_order"], 1)


def kill_at_random(cluster, roles, kills, moments, pause, **options):
    """Kills one of the processes, again and again, so many seconds after it began, and starts it anew."""
    for number in range(kills):
        time.sleep(moments.uniform(*pause))
        victim = moments.choice(["chief", "one", "two"])
        assert roles["chief"].is_alive(), number
        roles[victim].kill()
        roles[victim].join(10)
        assert roles[victim].exitcode == -signal.SIGKILL
        roles[victim] = cluster(victim, **options)


@pytest.mark.parametrize("algorithm", ["random", "grid", "asha"])
def test_chief_and_workers_killed_at_random_moments_lose_no_trial_and_count_none_twice(algorithm, cluster):
    kills = int(os.environ.get("KILLS", 4))
    moments = random.Random(int(os.environ.get("SEED", 0)))
    options = {"algorithm": algorithm, "seconds": 0.7 if algorithm == "asha" else 0.25}  # which has fewer steps
    roles = {name: cluster(name, **options) for name in ("chief", "one", "two")}
    wait_for(cluster.folder / ("trial_0000" if algorithm == "asha" else "trial_0"))
    kill_at_random(cluster, roles, kills, moments, (0, 1), **options)
    assert wait(*roles.values()) == [0, 0, 0]
    assert_whole(cluster.folder)


def test_a_killed_workers_trial_goes_to_another_that_continues_it(cluster):
    chief, one = cluster("chief"), cluster("one", seconds=0.3)
    steps = cluster.folder / "trial_0" / "steps"
    wait_for(steps)
    one.kill()
    one.join(10)
    done = int(steps.read_text())
    two = cluster("two")
    assert wait(chief, two) == [0, 0]
    assert_whole(cluster.folder)
    assert 1 <= done < STEPS


@pytest.mark.parametrize("method", ["CreateTrial", "UpdateTrial", "EndTrial"])
def test_a_chief_killed_between_what_it_did_and_its_answer_hears_of_it_again(method, cluster):
    first = cluster("chief", dies=(method, 2))
    one = cluster("one", seconds=0.01)
    assert wait(first) == [-signal.SIGKILL]
    left = TRIALS if method == "CreateTrial" else TRIALS - 1
    last = cluster("chief", dies=("CreateTrial", left))  # with the answer that the search is over
    assert wait(last) == [-signal.SIGKILL]
    assert wait(cluster("chief"), one) == [0, 0]
    assert_whole(cluster.folder)


def test_a_single_process_killed_at_random_moments_goes_on(cluster):
    moments = random.Random(0)
    for _ in range(4):
        single = cluster("single", seconds=0.05)
        wait_for(cluster.folder / "trial_0")
        time.sleep(moments.uniform(0, 1))
        single.kill()
        single.join(10)
    assert wait(cluster("single")) == [0]
    assert_whole(cluster.folder)


def test_a_frozen_worker_loses_its_trial_and_takes_the_next(cluster):
    chief, one = cluster("chief"), cluster("one", freezes=True)
    wait_for(cluster.folder / "frozen")
    two = cluster("two", seconds=0.2)
    wait_for(cluster.folder / "trial_3")
    os.kill(one.pid, signal.SIGCONT)
    assert wait(chief, one, two) == [0, 0, 0]
    assert_whole(cluster.folder)
    losses = json.loads((cluster.folder / "oracle.json").read_text())["losses"]
    assert losses["0"] == 1


def test_a_worker_that_fails_three_times_ends_the_search_with_the_reason(cluster):
    chief, one = cluster("chief"), cluster("one", fails=True)
    assert wait(chief, one) == [1, 0]
    message = "RuntimeError: No trial completed, the last one, 2, with: ValueError: the moon is full"
    assert (cluster.folder / "chief.error").read_text() == message


def test_a_chief_does_not_wait_for_the_dead(cluster):
    chief, one, two = cluster("chief"), cluster("one"), cluster("two", seconds=0.5)
    wait_for(cluster.folder / "trial_1")
    two.kill()
    assert wait(chief, one) == [0, 0]
    assert_whole(cluster.folder)


def test_a_worker_waits_for_its_chief_only_so_long(cluster):
    assert wait(cluster("one", patience=1)) == [1]
    message = (
        f"ClusterError: The chief at 127.0.0.1:{cluster.port} did not answer for 1 s: start it again, then the worker"
    )
    assert (cluster.folder / "one.error").read_text() == message


def test_a_worker_that_does_not_belong_to_the_search_is_refused(cluster):
    chief = cluster("chief", settings={"epochs": 3})
    old, other = cluster("one", versions={"keras": "3.0.1"}), cluster("two", settings={"epochs": 4})
    assert wait(old, other) == [1, 1]
    keras = state.versions()["keras"]
    assert (cluster.folder / "one.error").read_text() == (
        f"ClusterError: Chief and worker have other versions (keras {keras} and 3.0.1): install the same ones"
    )
    assert "Chief and worker have other settings of the search" in (cluster.folder / "two.error").read_text()
    assert wait(chief, cluster("three", settings={"epochs": 3})) == [0, 0]
    assert_whole(cluster.folder)


def test_a_used_port_is_named(cluster, tmp_path):
    cluster("chief")
    wait_for(cluster.folder / "oracle.json")
    time.sleep(1)
    assert wait(cluster("chief", folder=tmp_path / "other")) == [1]
    message = (tmp_path / "other" / "chief.error").read_text()
    assert message.startswith(f"OSError: The chief cannot listen at 127.0.0.1:{cluster.port}: the port is used")


def test_two_workers_of_one_name_are_told(cluster):
    chief, one = cluster("chief"), cluster("one", seconds=1)
    wait_for(cluster.folder / "trial_0")
    again = cluster("one")
    assert wait(chief, one, again) == [0, 1, 0]
    message = "ClusterError: Another worker is called 'one' too: give each a KERASTUNER_TUNER_ID of its own"
    assert (cluster.folder / "one.error").read_text() == message


@pytest.mark.parametrize(
    ("token", "what"), [("another secret", "has another"), ("ein Geheimnis wie öfter", "has another"), ("", "has no")]
)
def test_a_worker_without_the_token_is_refused_and_told(token, what, cluster):
    chief, stranger = cluster("chief"), cluster("one", token=token)
    assert wait(stranger) == [1]
    assert (cluster.folder / "one.error").read_text() == (
        f"ClusterError: The chief refuses this worker, which {what} KERAS_DENSENET_SEARCH_TOKEN: start it with the "
        "command that the chief printed"
    )
    assert not list(cluster.folder.glob("trial_*"))
    assert wait(chief, cluster("two")) == [0, 0]
    assert_whole(cluster.folder)


def test_a_chief_without_a_token_does_not_start(cluster):
    assert wait(cluster("chief", token="")) == [1]
    assert (cluster.folder / "chief.error").read_text().startswith("ValueError: A chief needs a token, which keeps")


def test_no_call_of_the_service_is_open_to_strangers(cluster):
    """KerasTuner's own client, which knows no token, may call whatever it likes."""
    chief = cluster("chief")
    wait_for(cluster.folder / "oracle.json")
    with grpc.insecure_channel(f"127.0.0.1:{cluster.port}", [("grpc.enable_http_proxy", 0)]) as channel:
        stub = of_keras_tuner.service().OracleStub(channel)
        calls = [name for name in vars(stub) if name[0].isupper()]
        assert {"CreateTrial", "EndTrial", "GetTrial", "UpdateTrial", "GetBestTrials", "UpdateSpace"} <= set(calls)
        for name in calls:
            request = getattr(of_keras_tuner.messages(), f"{name}Request")()
            with pytest.raises(grpc.RpcError) as refused:
                getattr(stub, name)(request, wait_for_ready=True, timeout=30)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED, name
    assert not list(cluster.folder.glob("trial_*"))
    assert wait(chief, cluster("one")) == [0, 0]
