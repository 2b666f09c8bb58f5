"""Chief and workers on one machine, and the command that starts a worker on another."""

import contextlib
import json
import os
import pathlib
import platform
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import threading

from keras_densenet.search.worker import TOKEN

TIED = "KERAS_DENSENET_TIED"  # in the environment of a worker whose standard input ends with its chief
IP, PORT, NAME = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID"


@contextlib.contextmanager
def launched(workers, command, folder, host=None, tell=print):
    """Makes this process the chief of so many workers, which run while the block does and stop with it.

    A worker that dies is started again. Each has a GPU of its own, where there are several, and its share of the cores.
    In a process that was started so, and with one worker and no `host`, nothing is done.

    Args:
        workers: processes that train on this machine; 0 needs a `host`.
        command: arguments of Python that start one, which finds its role in the environment: "-m", a module and its
            arguments.
        folder: that gets a file with the output of each.
        host: address of this machine at which workers on others reach the chief. A chief that was killed and is started
            again has the port and the token that it had.
        tell: is called with the line that starts a worker on another machine.

    Raises:
        ValueError: if there are too few `workers`, `host` is not this machine's, or this process has a role in another
            cluster.
    """
    if workers < (host is None):
        raise ValueError(f"workers must be at least 1, or 0 where there is a host. Received: workers={workers}")
    if (workers > 1 or host is not None) and IP in os.environ and not os.environ.get(TIED):
        raise ValueError(
            f"workers are started by hand where {IP} names a chief: leave them and host out, or the variable. "
            f"Received: workers={workers}"
        )
    if os.environ.get(TIED):
        threading.Thread(target=_end_with_the_chief, daemon=True).start()
    if IP in os.environ:
        os.environ.setdefault(NAME, f"{platform.node()}-{os.getpid()}".replace("chief", "c"))  # "chief" makes one
    if (workers == 1 and host is None) or IP in os.environ:
        yield
        return
    record = pathlib.Path(f"{folder}-chief.json")
    place = _place("127.0.0.1") if host is None else _kept_place(host, record)
    shared = {**os.environ, **place, TIED: "1"}
    chief = {**place, NAME: "chief"}
    before = {name: os.environ.get(name) for name in chief}
    over, told = threading.Event(), threading.Event()  # that all is over, and that the chief has told the workers so
    keepers = [
        threading.Thread(target=_keep, args=(f"worker{number}", command, {**shared, **own}, cores, folder, over, told))
        for number, (own, cores) in enumerate(shares(workers), 1)
    ]
    if host is not None:
        tell(f"a worker on another machine that sees this folder, too: {_line(place, command)}")
    os.environ.update(chief)
    try:
        for keeper in keepers:
            keeper.start()
        yield
        told.set()
        record.unlink(missing_ok=True)
    finally:
        over.set()
        for keeper in keepers:
            keeper.join()
        for name, value in before.items():  # or the next search of this process would be the chief of nobody
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def shares(workers):
    """What each of so many workers has of this machine.

    Returns:
        A list of pairs: variables for its environment, and the numbers of its cores.
    """
    gpus, cores, found = _gpus(), sorted(os.sched_getaffinity(0)), []
    for number in range(workers):
        first, end = (len(cores) * edge // workers for edge in (number, number + 1))
        mine = cores[first:end] or [cores[number % len(cores)]]
        threads = str(len(mine))
        own = {"TF_NUM_INTRAOP_THREADS": threads, "OMP_NUM_THREADS": threads}
        if len(gpus) > 1:
            own["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        if workers > len(gpus):  # or the first one takes all the memory
            own["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
        found.append((own, mine))
    return found


def _gpus():
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    import tensorflow as tf

    count = len(tf.config.list_physical_devices("GPU"))
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def _place(host, port=0):
    """Where a new chief listens, as variables of the environment, with its token."""
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((host, port))
        return {IP: host, PORT: str(free.getsockname()[1]), TOKEN: secrets.token_urlsafe()}


def _kept_place(host, record):
    """The place that a former chief of the search had, if it is free, or a new one; in a file for the next chief."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(record.read_text())
        if kept[IP] == host:
            return {**_place(host, int(kept[PORT])), TOKEN: str(kept[TOKEN])}
    try:
        place = _place(host)
    except OSError as error:
        raise ValueError(f"host must be an address of this machine ({error}). Received: host={host!r}") from None
    if not host or host == "0.0.0.0":
        raise ValueError(f"host must be the address at which others reach this machine. Received: host={host!r}")
    record.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    with open(os.open(record, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # nobody else may read it
        json.dump(place, file)
    return place


def _line(place, command):
    """The line of a shell that starts a worker anywhere; who lists processes does not see the token in it."""
    words = iter(command[2:])
    given = []
    for word in words:
        if word in ("--workers", "--host"):
            next(words)
        elif not word.startswith(("--workers=", "--host=")):
            given.append(word)
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in place.items())
    return f"cd {shlex.quote(os.getcwd())} && {variables} {shlex.join(['keras-densenet', *given])}"


def _keep(name, command, environment, cores, folder, over, told):
    """Runs a worker, again if it dies, until the search is over."""
    while not over.is_set():
        log = pathlib.Path(f"{folder}-{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "a") as output:
            worker = subprocess.Popen(
                [sys.executable, *command],
                env={**environment, NAME: name},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the chief, which tells the workers
            )
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(worker.pid, cores)  # before it has threads, which have what it has
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
