"""Many devices against one: virtual CPUs in a process, and workers on loopback; of many labels some are unknown."""

import csv
import socket
import time

import keras
import numpy as np
import pytest

from keras_densenet.training import Recipe, make_strategy
from tests.training import processes

pytestmark = pytest.mark.slow

# 20 steps, in none of which rounding takes a ReLU to its other side; from there on all would differ.
RECIPE = Recipe(epochs=5, batch_size=16, learning_rate=0.02, augmentation="cifar", xla=False)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    process = processes.CONTEXT.Process(target=processes.run, args=(folder, RECIPE), kwargs={"many": True})
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return folder


@pytest.fixture
def cluster(start):
    """Starts two workers."""

    def cluster(folder, **options):
        with socket.socket() as one, socket.socket() as other:
            for free in (one, other):
                free.bind(("127.0.0.1", 0))
            ports = [free.getsockname()[1] for free in (one, other)]
        return [start(folder, RECIPE, "multi_worker", ports, index, many=True, **options) for index in (0, 1)]

    return cluster


def _join(processes, seconds=60):
    deadline = time.monotonic() + seconds
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    return [process.exitcode for process in processes]


def _assert_same(folder, other):
    rows = []
    for path in (folder, other):
        with open(path / "history.csv", newline="") as file:
            names = ("loss", "val_loss", "accuracy", "val_auroc")
            rows.append([[float(row[name]) for name in names] for row in csv.DictReader(file)])
    assert np.shape(rows[0]) == (RECIPE.epochs, 4)
    np.testing.assert_allclose(*rows, atol=1e-4)
    ours, theirs = (keras.models.load_model(path / "model.keras", compile=False).weights for path in (folder, other))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4, err_msg=a.path)


def test_two_devices_with_shared_statistics_equal_one(single, start, tmp_path):
    assert _join([start(tmp_path, RECIPE, "mirrored", many=True)]) == [0]
    _assert_same(tmp_path, single)


def test_two_workers_with_shared_statistics_equal_one(single, cluster, tmp_path):
    assert _join(cluster(tmp_path)) == [0, 0]
    _assert_same(tmp_path, single)


def test_after_the_loss_of_a_worker_all_start_again_and_finish(single, cluster, tmp_path):
    chief, worker = cluster(tmp_path, seconds_per_step=0.2)
    deadline = time.monotonic() + 60
    while not (tmp_path / "history.csv").exists():
        assert chief.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    worker.kill()
    assert _join([chief])[0] == 1  # an error, not a hang
    assert not (tmp_path / "model.keras").exists()
    assert _join(cluster(tmp_path)) == [0, 0]
    _assert_same(tmp_path, single)


def test_a_strategy_that_cannot_be_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"strategy must be one of none, mirrored, multi_worker. Received"):
        make_strategy("tpu")
    for config in ("", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'):
        monkeypatch.setenv("TF_CONFIG", config)
        with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG, such as"):
            make_strategy("multi_worker")
