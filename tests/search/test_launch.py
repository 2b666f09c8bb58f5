"""Workers on this machine and on another: what each of them has, and the line that starts one."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import time

import psutil
import pytest

from keras_densenet.search import launch
from keras_densenet.search.worker import TOKEN
from tests.search.test_scripts import LONG, TINY

TELLING = """
import json, os, sys, time
name = os.environ["KERASTUNER_TUNER_ID"]
time.sleep(0.5)
told = {"environment": dict(os.environ), "cores": sorted(os.sched_getaffinity(0)), "words": sys.argv}
with open(f"{sys.argv[1]}/{name}.part", "w") as file:
    json.dump(told, file)
os.rename(file.name, f"{sys.argv[1]}/{name}.json")
sys.stdin.read()
"""


class Over(Exception):
    pass


def _told(folder, workers, **options):
    """What so many real workers of a chief have, and the chief's own environment."""
    with contextlib.suppress(Over), launch.launched(workers, ["-c", TELLING, str(folder)], folder / "a", **options):
        deadline, files = time.monotonic() + 100, [folder / f"worker{number}.json" for number in range(1, workers + 1)]
        while not all(file.exists() for file in files):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        chief = dict(os.environ)
        raise Over
    return chief, [json.loads(file.read_text()) for file in files]


@pytest.mark.parametrize("workers", [2, 3])
def test_each_worker_has_a_gpu_of_its_own_its_share_of_the_cores_and_the_token(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_gpus", lambda: ["GPU-a", "3"])
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    chief, told = _told(tmp_path, workers)
    environments = [one["environment"] for one in told]
    assert [one["CUDA_VISIBLE_DEVICES"] for one in environments] == ["GPU-a", "3", "GPU-a"][:workers]
    assert ["TF_FORCE_GPU_ALLOW_GROWTH" in one for one in environments] == [workers > 2] * workers
    here = sorted(os.sched_getaffinity(0))
    assert {core for one in told for core in one["cores"]} == set(here)
    if len(here) >= workers:
        assert sum(len(one["cores"]) for one in told) == len(here)
    for one in told:
        assert one["environment"]["TF_NUM_INTRAOP_THREADS"] == str(len(one["cores"]))
        assert one["environment"][launch.TOKEN] == chief[launch.TOKEN]
        assert chief[launch.TOKEN] not in " ".join(one["words"])
    assert len(chief[launch.TOKEN]) > 40
    assert launch.TOKEN not in os.environ
    assert sorted(os.sched_getaffinity(0)) == here


def test_one_gpu_is_nobodys_own(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "_gpus", lambda: ["0"])
    assert all("CUDA_VISIBLE_DEVICES" not in own for own, _ in launch.shares(2))
    assert all(own["TF_FORCE_GPU_ALLOW_GROWTH"] == "true" for own, _ in launch.shares(2))


def test_the_line_for_another_machine_has_what_the_chief_was_asked_but_its_workers():
    command = ["-m", "keras_densenet", "search", "run", "--workers", "4", "--out", "a b", "--host=h", "--workers=2"]
    place = {launch.IP: "10.0.0.1", launch.PORT: "5", TOKEN: "secret"}
    line = launch._line(place, command)
    variables = f"{launch.IP}=10.0.0.1 {launch.PORT}=5 {TOKEN}=secret"
    assert line == f"cd {os.getcwd()} && {variables} keras-densenet search run --out 'a b'"


def test_a_chief_that_is_started_again_has_its_port_and_token_and_nobody_else_reads_them(tmp_path):
    lines, record = [], tmp_path / "a-chief.json"
    for _ in range(2):
        with contextlib.suppress(Over), launch.launched(0, ["-m", "a"], tmp_path / "a", "127.0.0.1", lines.append):
            raise Over
        assert record.stat().st_mode & 0o777 == 0o600
    assert lines[0] == lines[1]
    with launch.launched(0, ["-m", "a"], tmp_path / "a", "127.0.0.1", lines.append):
        pass
    assert not record.exists()  # the search is over
    with contextlib.suppress(Over), launch.launched(0, ["-m", "a"], tmp_path / "a", "127.0.0.1", lines.append):
        raise Over
    assert lines[2] == lines[0] != lines[3]


class Hosts:
    """Two network namespaces, 10.9.8.1 and 10.9.8.2, joined by a cable."""

    def __init__(self):
        self.kept = []
        first = self._keep(["unshare", "--user", "--map-root-user", "--net"])
        second = self._keep([*self.at(first), "unshare", "--net"])
        self.one, self.two = self.at(first), self.at(second)
        self.do(self.one, f"ip link add left type veth peer name right netns {second}")
        for host, end, number in ((self.one, "left", 1), (self.two, "right", 2)):
            self.do(host, f"ip addr add 10.9.8.{number}/24 dev {end} && ip link set {end} up && ip link set lo up")

    def at(self, pid):
        return ["nsenter", "--target", str(pid), "--user", "--net", "--preserve-credentials"]

    def do(self, host, line):
        done = subprocess.run([*host, "sh", "-c", line], capture_output=True, text=True, timeout=60)
        if done.returncode:
            pytest.skip(f"no network namespaces can be made here: {done.stderr.strip()}")

    def _keep(self, command):
        words = [*command, "sh", "-c", "echo here; exec sleep 3000"]
        self.kept.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        if self.kept[-1].stdout.readline() != "here\n":
            pytest.skip(f"no network namespaces can be made here: {self.kept[-1].stderr.read().strip()}")
        return self.kept[-1].pid

    def close(self):
        for process in self.kept:
            process.kill()
            process.communicate()


@pytest.fixture
def hosts():
    if missing := [name for name in ("unshare", "nsenter", "ip") if not shutil.which(name)]:
        pytest.skip(f"no network namespaces can be made here: {missing[0]} is missing")
    with contextlib.closing(Hosts.__new__(Hosts)) as made:
        made.__init__()
        yield made


@pytest.mark.slow
@pytest.mark.timeout(2 * LONG)
def test_a_worker_on_another_host_is_one_line_that_the_chief_prints(hosts, tmp_path):
    """The line without its token, with another one, then as it is; who lists processes does not see it."""
    root = pathlib.Path(launch.__file__).parents[2]
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(root), "COLUMNS": "300"}
    search = [sys.executable, "-m", "keras_densenet", "search", "run", *TINY, "--trials", "2", "--out", "a b"]
    options = {"cwd": tmp_path, "env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    chief = subprocess.Popen([*hosts.one, *search, "--workers", "0", "--host", "10.9.8.1"], **options)
    try:
        line = next(text for text in chief.stdout if "KERASTUNER_ORACLE_IP" in text).split(": ", 1)[1].strip()
        token = re.search(f"{TOKEN}=(\\S+)", line)[1]
        wrong, no = line.replace(token, "wrong"), line.replace(f"{TOKEN}={token}", "")
        for stranger, what in ((wrong, "has another"), (no, "has no")):
            done = subprocess.run([*hosts.two, "sh", "-c", stranger], **{**options, "timeout": LONG})
            assert done.returncode == 2, done.stderr
            assert f"Error: The chief refuses this worker, which {what} {TOKEN}: start it with the" in done.stderr
        worker = subprocess.Popen([*hosts.two, "sh", "-c", line], **options)
        processes = []
        while worker.poll() is None and not processes:
            with contextlib.suppress(psutil.Error):
                shell = psutil.Process(worker.pid)
                processes = [one for one in (shell, *shell.children(recursive=True)) if "run" in one.cmdline()]
        assert all(token not in " ".join(one.cmdline()) for one in processes)
        output, errors = worker.communicate(timeout=LONG)
        assert worker.returncode == 0, errors
        output, errors = chief.communicate(timeout=LONG)
        assert chief.returncode == 0, errors
        assert "2 completed" in output
    finally:
        chief.kill()
        chief.communicate()
