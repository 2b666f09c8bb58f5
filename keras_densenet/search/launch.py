"""Chief and workers on one machine."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

TIED = "KERAS_DENSENET_TIED"  # in the environment of a worker whose standard input ends with its chief


@contextlib.contextmanager
def launched(workers, command, folder):
    """Makes this process the chief of so many workers, which run while the block does and stop with it.

    A worker that dies is started again. In a process that was started so, and with one worker, nothing is done.

    Args:
        workers: processes that train, each with its share of the cores.
        command: arguments of Python that start one, which finds its role in the environment.
        folder: that gets a file with the output of each.

    Raises:
        ValueError: if `workers` is not positive, or this process has a role in another cluster.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1. Received: workers={workers}")
    if workers > 1 and "KERASTUNER_ORACLE_IP" in os.environ and not os.environ.get(TIED):
        raise ValueError(
            "workers are started by hand where KERASTUNER_ORACLE_IP names a chief: leave them out, or the variable. "
            f"Received: workers={workers}"
        )
    if os.environ.get(TIED):
        threading.Thread(target=_end_with_the_chief, daemon=True).start()
    if workers == 1 or "KERASTUNER_ORACLE_IP" in os.environ:
        yield
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(free.getsockname()[1])}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    shared = {**os.environ, **place, TIED: "1", "TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
    chief = {**place, "KERASTUNER_TUNER_ID": "chief"}
    before = {name: os.environ.get(name) for name in chief}
    over, told = threading.Event(), threading.Event()  # that all is over, and that the chief has told the workers so
    keepers = [
        threading.Thread(target=_keep, args=(f"worker{number}", command, shared, folder, over, told))
        for number in range(1, workers + 1)
    ]
    os.environ.update(chief)
    try:
        for keeper in keepers:
            keeper.start()
        yield
        told.set()
    finally:
        over.set()
        for keeper in keepers:
            keeper.join()
        for name, value in before.items():  # or the next search of this process would be the chief of nobody
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _keep(name, command, environment, folder, over, told):
    """Runs a worker, again if it dies, until the search is over."""
    while not over.is_set():
        log = pathlib.Path(f"{folder}-{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as output:
            worker = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, "KERASTUNER_TUNER_ID": name},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the chief, which tells the workers
            )
            while worker.poll() is None and not over.wait(0.2):
                pass
            if told.is_set():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(60)
            worker.stdin.close()
            try:
                worker.wait(60)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        if worker.returncode == 0 or over.wait(1):
            return


def _end_with_the_chief():
    while os.read(0, 1024):  # a buffered read would be in the way of the interpreter's end
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # a training saves the step that it is in
