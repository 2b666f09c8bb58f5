"""A search by halving whose networks are trained, and whose processes are killed: `KILLS=10 SEED=1 pytest ...`."""

import collections
import contextlib
import csv
import json
import os
import random

import keras
import pytest

from keras_densenet import training
from keras_densenet.search import DenseNetHyperModel, search
from keras_densenet.search.results import Results
from keras_densenet.search.worker import TOKEN
from tests.search.test_cluster import cluster, kill_at_random, wait, wait_for  # noqa: F401, a fixture
from tests.search.test_search import BUDGET, DATA, SPACE
from tests.training.processes import stripes

NETWORKS, EPOCHS = 6, 4
RECIPE = training.Recipe(epochs=EPOCHS, batch_size=16, augmentation="none", xla=False, seed=3)


class Noting(keras.callbacks.Callback):
    """Notes every epoch that a worker trained in one file."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with open(self.path, "a") as file:
            file.write(f"{epoch}\n")


def train(folder, port, name, **options):
    """One process of a search that trains."""
    os.environ.update(KERASTUNER_ORACLE_IP="127.0.0.1", KERASTUNER_ORACLE_PORT=str(port), KERASTUNER_TUNER_ID=name)
    os.environ[TOKEN] = "a secret"
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **SPACE, recipe=RECIPE)
    options |= {} if name == "chief" else {"callbacks": [Noting(folder.parent / "epochs")]}
    with open(folder.parent / f"{name}.log", "a") as log, contextlib.redirect_stderr(log):
        search(
            *(folder, hypermodel, BUDGET, stripes(), DATA),
            **{
                "algorithm": "asha",
                "trials": NETWORKS,
                "factor": 2,
                "heartbeat": 0.2,
                "heartbeat_timeout": 5,
                **options,
            },
        )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_random_moments_no_network_is_lost_or_counted_twice_and_its_epochs_go_on(cluster):  # noqa: F811
    kills, moments = int(os.environ.get("KILLS", 2)), random.Random(int(os.environ.get("SEED", 0)))
    roles = {name: cluster(name, target=train) for name in ("chief", "one", "two")}
    wait_for(cluster.folder / "trial_0000")
    kill_at_random(cluster, roles, kills, moments, (1, 5), target=train)
    assert wait(*roles.values(), seconds=900) == [0, 0, 0]
    oracle = json.loads((cluster.folder / "oracle.json").read_text())
    assert sorted(oracle["end_order"]) == sorted(oracle["start_order"])
    assert oracle["run_times"] == dict.fromkeys(oracle["start_order"], 1)
    results = Results(cluster.folder)
    assert collections.Counter(row["status"] for row in results.rows).keys() == {"completed", "stopped", "continued"}
    until, firsts = collections.Counter(), {}
    for name, trial in results.trials.items():
        values = trial.hyperparameters.values
        firsts[name] = firsts.get(values.get("tuner/trial_id"), name)
        until[firsts[name]] = max(until[firsts[name]], values["tuner/epochs"])
    assert len(until) == NETWORKS
    for name, epochs in until.items():
        with open(cluster.folder / f"trial_{name}" / "run0" / "history.csv", newline="") as file:
            assert [int(row["epoch"]) for row in csv.DictReader(file)] == [*range(1, epochs + 1)]
    trained = len((cluster.folder.parent / "epochs").read_text().split())
    assert abs(trained - sum(until.values())) <= kills  # one that a kill met is trained anew, or was not noted
    best = results.best()
    first = firsts[best["trial"]]
    network = training.load_record(cluster.folder / f"trial_{first}" / "run0")["arguments"]["network"]
    network = {name: value for name, value in network.items() if name != "dropout_rate"}
    whole = training.train(network, "stripes", stripes(), results.point(best)[1], cluster.folder.parent / "whole")
    assert whole["test"]["accuracy"] == pytest.approx(best["test_accuracy"], abs=0.04)
    with open(cluster.folder.parent / "whole" / "history.csv", newline="") as file:
        assert float([*csv.DictReader(file)][-1]["val_loss"]) == pytest.approx(best["val_loss"], rel=1e-2)
