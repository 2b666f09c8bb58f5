"""Many workers: KerasTuner's chief and workers over gRPC, of which any may be killed at any moment.

The service and its messages are KerasTuner's. What its messages have no room for travels in the calls' metadata: who
calls, with which token, versions and settings, and why a trial failed. A worker's heartbeat is a `GetTrial` of its
trial.
"""

import concurrent.futures
import contextlib
import hmac
import json
import os
import time

import grpc
from keras_tuner.engine.trial import Trial

from keras_densenet.compat.keras_tuner import OracleServicer, messages, role, service, state_file
from keras_densenet.search.worker import HEARTBEAT, PATIENCE, TOKEN, Client, agreed

SILENCE = 60  # seconds after which a worker is lost


class RobustTuner:
    """Mixin that stands before one of KerasTuner's tuners, and gives it the role that the environment names.

    `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` say where the chief is, `KERASTUNER_TUNER_ID` who this is: a
    chief, if the word is in it; `KERAS_DENSENET_SEARCH_TOKEN` is the secret that all share. Without them the search has
    one process.

    Args:
        oracle: a `RobustOracle`.
        *args, **kwargs: of KerasTuner's tuner.
        settings: dict for JSON, what chief and workers must agree on.
        heartbeat: seconds between a worker's signs of life.
        heartbeat_timeout: seconds of silence after which the chief gives a worker's trial to another one.
        patience: seconds for which a worker waits for its chief.
    """

    def __init__(
        self,
        oracle,
        *args,
        settings=None,
        heartbeat=HEARTBEAT,
        heartbeat_timeout=SILENCE,
        patience=PATIENCE,
        **kwargs,
    ):
        self.role = role()
        self._settings, self._heartbeat_timeout = settings, heartbeat_timeout
        super().__init__(oracle, *args, **kwargs)
        if self.role == "worker":
            self.oracle = Client(oracle, settings, heartbeat, patience)

    def search(self, *args, **kwargs):
        """Searches, serves as chief until the search is over, or works until the chief says so.

        Raises:
            RuntimeError: if no trial completed or too many failed in a row.
            ClusterError: if a worker cannot go on.
        """
        if self.role == "chief":
            chief(self.oracle, self._settings, self._heartbeat_timeout)
        elif self.role == "worker":
            with self.oracle:
                super().search(*args, **kwargs)
        else:
            super().search(*args, **kwargs)
            self.oracle.check_outcome()

    def save(self):
        """Writes the oracle's state; the tuner has none."""
        if self.role != "worker":
            self.oracle.save()

    def reload(self):
        """Reads the oracle's state."""
        if self.role != "worker":
            self.oracle.reload()

    def _get_tuner_fname(self):
        return state_file(self.oracle)  # KerasTuner reloads if this file is there

    def _populate_initial_space(self):
        super()._populate_initial_space()
        if self.role != "worker":
            self.oracle.begin()


def chief(oracle, settings=None, heartbeat_timeout=SILENCE, patience=3600):
    """Serves a search to workers that know its token until it is over and all workers that live were told.

    Args:
        oracle: a `RobustOracle`.
        settings: dict for JSON, what chief and workers must agree on.
        heartbeat_timeout: seconds of silence after which a worker's trial is given to another one.
        patience: seconds without any worker after which the chief gives up.

    Raises:
        ValueError: if the environment has no token.
        OSError: if it cannot listen where the environment says, or cannot write.
        RuntimeError: if there was no worker for too long, no trial completed, or too many failed in a row.
    """
    ip, port = os.environ["KERASTUNER_ORACLE_IP"], os.environ["KERASTUNER_ORACLE_PORT"]
    if not os.environ.get(TOKEN):
        raise ValueError(
            "A chief needs a token, which keeps strangers out: let --workers or --host make one, or set "
            f"{TOKEN} to the same secret for chief and workers"
        )
    oracle.heartbeat_timeout = heartbeat_timeout
    servicer = _Servicer(oracle, settings)
    pool = concurrent.futures.ThreadPoolExecutor(16)
    # Without the option, two chiefs can share a port and the calls that arrive there.
    server = grpc.server(pool, interceptors=[servicer], options=[("grpc.so_reuseport", 0)])
    service().add_OracleServicer_to_server(servicer, server)
    try:
        bound = server.add_insecure_port(f"{ip}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise OSError(
            f"The chief cannot listen at {ip}:{port}: the port is used, or the address is not this machine's. "
            "Give another KERASTUNER_ORACLE_PORT or KERASTUNER_ORACLE_IP to chief and workers"
        )
    server.start()
    try:
        while not servicer.is_done():
            if oracle.silence() > patience:
                raise RuntimeError(
                    f"No worker was heard of for {patience} s, after {len(oracle.end_order)} trials: "
                    "start chief and workers again to go on"
                )
            time.sleep(0.1)
    finally:
        server.stop(grace=2).wait()
    oracle.check_outcome()


class _Servicer(OracleServicer, grpc.ServerInterceptor):
    """KerasTuner's service, which knows who calls, and answers a call that is repeated like the first one."""

    def __init__(self, oracle, settings):
        super().__init__(oracle)
        self.failure = None
        self._agreed, self._sessions, self._began = agreed(settings), {}, time.monotonic()
        self._token = os.environ[TOKEN].encode()

    def is_done(self):
        """Whether the search is over and all workers know; raises what made the oracle fail."""
        if self.failure is not None:
            raise self.failure
        with self.oracle.alone():
            self.oracle.take_back_lost()
            waits = not all(self.oracle.is_lost(tuner_id) for tuner_id in self.oracle.tuner_ids)
            return self.oracle.is_over() and not waits and time.monotonic() - self._began > 3  # some may yet ask

    def intercept_service(self, continuation, details):
        """Hears the caller, and refuses one that does not belong to the search."""
        caller, code = dict(details.invocation_metadata), grpc.StatusCode.UNAUTHENTICATED
        complaint = self._stranger(caller)
        if complaint is None:
            complaint, code = self._complaint(caller, details.method), grpc.StatusCode.FAILED_PRECONDITION
        if complaint is None:
            self.oracle.hear(caller["tuner"])
            return continuation(details)
        return grpc.unary_unary_rpc_method_handler(lambda _, context: context.abort(code, complaint))

    def _stranger(self, caller):
        given = caller.get("token-bin", b"")
        if hmac.compare_digest(given, self._token):
            return None
        what = "has another" if given else "has no"
        return f"The chief refuses this worker, which {what} {TOKEN}: start it with the command that the chief printed"

    def _complaint(self, caller, method):
        ours, theirs = (json.loads(side.get("versions", "{}")) for side in (self._agreed, caller))
        names = [name for name in ours if ours[name] != theirs.get(name)]
        if names or "tuner" not in caller:
            differ = ", ".join(f"{name} {ours[name]} and {theirs.get(name, 'none')}" for name in names)
            return f"Chief and worker have other versions ({differ}): install the same ones"
        if caller["settings"] != self._agreed["settings"]:
            return "Chief and worker have other settings of the search: start both with the same options"
        of_trial = method.rsplit("/")[-1] in ("UpdateTrial", "EndTrial", "GetTrial")
        if of_trial and self._sessions.get(caller["tuner"]) not in (None, caller["session"]):
            return f"Another worker is called {caller['tuner']!r} too: give each a KERASTUNER_TUNER_ID of its own"
        return None

    def CreateTrial(self, request, context):
        caller = _caller(context)
        with self._failing(context), self.oracle.alone():
            former = self._sessions.get(request.tuner_id)
            if former not in (None, caller["session"]) and request.tuner_id in self.oracle.ongoing_trials:
                self.oracle.take_back(request.tuner_id)  # the worker was killed and is back
            self._sessions[request.tuner_id] = caller["session"]
            return super().CreateTrial(request, context)

    def UpdateTrial(self, request, context):
        self._check_holder(request.trial_id, context)
        try:
            with self.oracle.alone():
                return super().UpdateTrial(request, context)
        except ValueError as error:  # its metrics lack the objective
            return context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def EndTrial(self, request, context):
        with self._failing(context), self.oracle.alone():
            if self._holds(request.trial.trial_id, context):
                trial = Trial.from_proto(request.trial)
                trial.message = _caller(context)["message-bin"].decode(errors="replace") or None
                self.oracle.end_trial(trial)
            return messages().EndTrialResponse()

    def GetTrial(self, request, context):
        if _caller(context)["heartbeat"]:
            self._check_holder(request.trial_id, context)
        return super().GetTrial(request, context)  # without the lock: a heartbeat does not wait for a new point

    def GetBestTrials(self, request, context):
        with self.oracle.alone():
            return super().GetBestTrials(request, context)

    def _holds(self, trial_id, context):
        trial = self.oracle.ongoing_trials.get(_caller(context)["tuner"])
        return trial is not None and trial.trial_id == trial_id

    def _check_holder(self, trial_id, context):
        if not self._holds(trial_id, context):
            context.abort(grpc.StatusCode.ABORTED, f"Trial {trial_id} was given to another worker")

    @contextlib.contextmanager
    def _failing(self, context):
        """Ends the chief where the oracle fails: the state in memory may be half changed, the one on disk is not."""
        try:
            yield
        except Exception as error:
            self.failure = error
            context.abort(grpc.StatusCode.INTERNAL, f"The chief failed: {error}")


def _caller(context):
    return dict(context.invocation_metadata())
