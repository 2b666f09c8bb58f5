"""What KerasTuner has no public name for: chief and workers, locks, displays. Seen in KerasTuner 1.4.8."""

from types import ModuleType
from typing import Any

import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute import utils
from keras_tuner.src.distribute.oracle_chief import OracleServicer
from keras_tuner.src.distribute.oracle_client import OracleClient
from keras_tuner.src.engine import oracle as locking
from keras_tuner.src.engine.metrics_tracking import MetricsTracker
from keras_tuner.src.engine.oracle import Display

__all__ = ["Display", "MetricsTracker", "OracleClient", "OracleServicer"]

HOOKS = {
    keras_tuner.Oracle: (
        *("_check_consecutive_failures", "_compute_values_hash", "_display", "_duplicate", "_get_oracle_fname"),
        *("_project_dir", "_random_values", "_retry_queue", "_save_trial", "_seed_state"),
    ),
    keras_tuner.oracles.BayesianOptimizationOracle: ("_make_gpr", "_random_populate_space"),
    keras_tuner.engine.base_tuner.BaseTuner: ("_get_tuner_fname", "_populate_initial_space"),
}
"""Methods and attributes that the package's oracles and tuners use or override on themselves."""


def role() -> str:
    """What this process is by its environment: "chief", "worker" or "single"."""
    return ("chief" if utils.is_chief_oracle() else "worker") if utils.has_chief_oracle() else "single"


def messages() -> ModuleType:
    """The messages of the chief's gRPC service."""
    return protos.get_service()


def service() -> ModuleType:
    """The gRPC service itself: its stub, and what adds it to a server."""
    return protos.get_service_grpc()


def lock_of(oracle: keras_tuner.Oracle) -> Any:
    """The lock that `synchronized` holds while it changes an oracle."""
    return locking.LOCKS[oracle]


def holder_of(oracle: keras_tuner.Oracle) -> str | None:
    """The name of the thread for which `synchronized` holds that lock."""
    return locking.THREADS[oracle]


def set_holder(oracle: keras_tuner.Oracle, thread: str | None) -> None:
    """Says for which thread the lock is held."""
    locking.THREADS[oracle] = thread


def forget_observation(trial: Any, metric: str, step: int) -> None:
    """Takes back what a trial reported at a step; KerasTuner would take the mean with what comes again."""
    trial.metrics.metrics[metric]._observations.pop(step, None)


def state_file(oracle: keras_tuner.Oracle) -> str:
    """The file of an oracle's state."""
    return oracle._get_oracle_fname()


def show_on(oracle: keras_tuner.Oracle, display: Display) -> None:
    """Makes a display the oracle's, in place of the one that prints."""
    oracle._display = display
