"""A worker's side of a search: the oracle that it has at the chief."""

import hashlib
import json
import os
import threading
import time
import uuid

import grpc
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_densenet.compat.keras_tuner import OracleClient, messages, service
from keras_densenet.search.state import versions

HEARTBEAT = 10  # seconds between a worker's signs of life
PATIENCE = 600  # seconds for which a worker waits for its chief
TOKEN = "KERAS_DENSENET_SEARCH_TOKEN"  # in the environment of chief and workers: the secret that they share


class ClusterError(keras_tuner.errors.FatalRuntimeError):
    """This worker cannot go on: the chief is away or does not want it."""


class TrialLost(keras_tuner.errors.FailedTrialError):
    """The chief gave this worker's trial to another one, for this one was silent for too long."""


class Client(OracleClient):
    """Stands in a worker for the oracle of the chief.

    A call is repeated while the chief is away, which it does not mind: nothing counts twice. A thread sends the
    heartbeat as long as a trial runs.

    Args:
        oracle: the worker's own oracle, for its objective.
        settings: dict for JSON, what chief and workers must agree on.
        heartbeat: seconds between the signs of life.
        patience: seconds for which to wait for the chief.
    """

    def __init__(self, oracle, settings=None, heartbeat=HEARTBEAT, patience=PATIENCE):
        super().__init__(oracle)
        self.stub = _PatientStub(self.tuner_id, settings, patience)
        self.heartbeat = heartbeat
        self._trial_id = self._trouble = None
        self._closed = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def create_trial(self, tuner_id):
        """A trial from the chief. Before it returns none (IDLE), it waits, for KerasTuner's loop does not."""
        self._trouble = None
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self._trial_id = trial.trial_id
        elif trial.status == TrialStatus.IDLE:
            self._closed.wait(min(1, self.heartbeat))
        return trial

    def end_trial(self, trial):
        """Tells the chief a trial's end, and its message, which KerasTuner's does not."""
        request = messages().EndTrialRequest(trial=trial.to_proto())
        self.stub.EndTrial(request, message=trial.message or "")
        self._trial_id = None

    def check(self):
        """Raises what the heartbeat met: call it now and then while a trial runs.

        Raises:
            TrialLost: if the trial was given to another worker.
            ClusterError: if this worker cannot go on.
        """
        if self._trouble is not None:
            raise self._trouble

    def close(self):
        """Ends the heartbeat and the connection."""
        self._closed.set()
        self.stub.channel.close()

    def _beat(self):
        while not self._closed.wait(self.heartbeat):
            trial_id = self._trial_id
            if trial_id is None:
                continue
            try:
                self.stub.GetTrial(messages().GetTrialRequest(trial_id=trial_id), heartbeat="yes")
            except (ClusterError, TrialLost) as trouble:
                if trial_id == self._trial_id:
                    self._trouble = trouble
            except (RuntimeError, ValueError):  # the channel was closed meanwhile
                continue


_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


class _PatientStub:
    """KerasTuner's stub, whose calls say who calls, and are repeated while the chief is away."""

    def __init__(self, tuner_id, settings, patience):
        self.address = f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"
        options = {"enable_http_proxy": 0, "initial_reconnect_backoff_ms": 200, "max_reconnect_backoff_ms": 1000}
        self.channel = grpc.insecure_channel(self.address, [(f"grpc.{name}", value) for name, value in options.items()])
        self.patience = patience
        self._stub = service().OracleStub(self.channel)
        self._metadata = {"tuner": tuner_id, "session": uuid.uuid4().hex, **agreed(settings)}
        self._metadata["token-bin"] = os.environ.get(TOKEN, "").encode()

    def __getattr__(self, method):
        return lambda request, **options: self._call(getattr(self._stub, method), request, **options)

    def _call(self, method, request, message="", heartbeat="", **_):
        extra = {"message-bin": message.encode()[-4000:], "heartbeat": heartbeat}  # gRPC's limit is 8 kB
        metadata = tuple({**self._metadata, **extra}.items())
        end = time.monotonic() + self.patience
        while True:
            left = end - time.monotonic()
            try:
                return method(request, wait_for_ready=True, timeout=max(0.1, min(60, left)), metadata=metadata)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
            if code == grpc.StatusCode.ABORTED:
                raise TrialLost(details)
            if code == grpc.StatusCode.INVALID_ARGUMENT:
                raise ValueError(details)
            if code not in _AWAY:
                raise ClusterError(details)
            if left <= 0:
                raise ClusterError(
                    f"The chief at {self.address} did not answer for {self.patience} s: start it again, then the worker"
                )
            time.sleep(0.2)


def agreed(settings):
    """What chief and worker must agree on, as metadata of a call."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return {"versions": json.dumps(versions()), "settings": digest}
