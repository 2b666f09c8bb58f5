"""KerasTuner's oracles, made to lose nothing when they are killed."""

import contextlib
import datetime
import math
import pathlib
import threading
import time

from keras_tuner.engine.trial import Trial, TrialStatus

from keras_densenet.compat.keras_tuner import MetricsTracker, forget_observation, holder_of, lock_of, set_holder
from keras_densenet.search.state import read_json, write_json


class RobustOracle:
    """Mixin that stands before one of KerasTuner's oracles and makes its state outlive any kill.

    Every change is committed by one rename: a trial's own file goes first, then `oracle.json`, and `reload` repairs
    what a kill between the two left. A running trial keeps its id and folder: its tuner gets it back, and when that
    one is gone, another. A trial that is handed out again has no metrics, for it reports anew. What is reported twice
    counts once. Too many failures in a row end the search instead of raising under KerasTuner's lock; a loss that is
    not a number is no such failure, for other points may do well.

    Args:
        *args, **kwargs: of KerasTuner's oracle.
        max_losses: how many workers a trial may lose before it counts as failed.

    Attributes:
        heartbeat_timeout: seconds of silence after which a tuner has lost its trial; None, if all tuners live in this
            process. `chief` sets it.
    """

    def __init__(self, *args, max_losses=5, **kwargs):
        super().__init__(*args, **kwargs)
        self.max_losses = max_losses
        self.heartbeat_timeout = None
        self._began = time.monotonic()
        self._heard = {}  # tuner -> when
        self._losses = {}  # trial -> how many workers
        self._failures = 0  # in a row, since this process began: who calls again has mended what failed
        self._exhausted = False
        self._commits, self._changed = 0, False
        lock_of(self)  # KerasTuner's dict makes it here, and not twice in two threads at once

    @contextlib.contextmanager
    def alone(self):
        """KerasTuner's `synchronized`, but an exception does not leave the lock held for ever."""
        name = threading.current_thread().name
        if holder_of(self) == name:
            yield
            return
        with lock_of(self):
            set_holder(self, name)
            try:
                yield
            finally:
                set_holder(self, None)

    def hear(self, tuner_id):
        """Notes that a tuner lives."""
        self._heard[tuner_id] = time.monotonic()

    def silence(self):
        """Seconds since any tuner was heard, or since this process began."""
        return time.monotonic() - max(list(self._heard.values()), default=self._began)

    def is_lost(self, tuner_id):
        """Whether a tuner has been silent for too long."""
        if self.heartbeat_timeout is None:
            return tuner_id not in self._heard  # it was one of a former process
        return time.monotonic() - self._heard.get(tuner_id, self._began) > self.heartbeat_timeout

    def create_trial(self, tuner_id):
        """Hands out a trial: the one that the tuner runs already, one that was lost, one to repeat, or a new one."""
        with self._commit():
            self.hear(tuner_id)
            self.take_back_lost()
            trial = self.ongoing_trials.get(tuner_id)
            if trial is None and self._has_failed():
                trial = Trial(self.get_space(), status=TrialStatus.STOPPED)
            elif trial is None:
                known = set(self.trials)
                trial = super().create_trial(tuner_id)
                if trial.status == TrialStatus.RUNNING and trial.trial_id not in known:
                    self._exhausted = False
                    return trial
            if trial.status == TrialStatus.RUNNING:
                trial.metrics, trial.score, trial.message = MetricsTracker(), None, None
                self._save_trial(trial)
            elif self.ongoing_trials and not self._has_failed():
                trial.status = TrialStatus.IDLE  # a trial that is lost yet needs a tuner
            if trial.status == TrialStatus.IDLE:
                self.tuner_ids.add(tuner_id)
            elif trial.status == TrialStatus.STOPPED:
                self._exhausted = self._exhausted or not self._has_failed()
                self.tuner_ids.discard(tuner_id)
                self.save()
            return trial

    def update_trial(self, trial_id, metrics, step=0):
        """Takes a trial's metrics; those that the trial had at this step are replaced."""
        with self._commit():
            trial = self.trials[trial_id]
            if trial.status != TrialStatus.RUNNING:
                return trial
            for name in set(metrics) & set(trial.metrics.metrics):
                forget_observation(trial, name, step)
            finite = {name: math.inf if math.isnan(value) else value for name, value in metrics.items()}
            return super().update_trial(trial_id, finite, step=step)  # which takes the best, and of nan there is none

    def end_trial(self, trial):
        """Takes a trial's end; the end of a trial that does not run is one that was taken already."""
        with self._commit():
            if any(trial.trial_id == running.trial_id for running in self.ongoing_trials.values()):
                super().end_trial(trial)

    def score_trial(self, trial):
        """Scores a trial; one without a finite objective gets no number, which fails it."""
        super().score_trial(trial)
        if not math.isfinite(trial.score):
            trial.score = math.nan

    def take_back_lost(self):
        """Keeps the trials of lost tuners for others."""
        with self._commit():
            for tuner_id in list(self.ongoing_trials):
                if self.is_lost(tuner_id):
                    self.take_back(tuner_id)

    def take_back(self, tuner_id):
        """Keeps the trial of a tuner for another one; fails it if it lost too many workers, for which it may be why."""
        with self._commit():
            trial = self.ongoing_trials[tuner_id]
            if self.heartbeat_timeout is not None:
                self._losses[trial.trial_id] = self._losses.get(trial.trial_id, 0) + 1
            self.tuner_ids.discard(tuner_id)
            if self._losses.get(trial.trial_id, 0) >= self.max_losses:
                trial.status, trial.message = (
                    TrialStatus.FAILED,
                    f"{self.max_losses} workers were lost while they ran it",
                )
                self.end_trial(trial)
            else:
                del self.ongoing_trials[tuner_id]
                self._retry_queue.append(trial.trial_id)
                self.save()

    def is_over(self):
        """Whether nothing runs and nothing is left to run."""
        left = self._retry_queue or not (self._exhausted or (self.max_trials and len(self.trials) >= self.max_trials))
        return not self.ongoing_trials and (self._has_failed() or not left)

    def check_outcome(self):
        """Raises RuntimeError if no trial completed or too many failed in a row; says why the last one failed."""
        completed = any(trial.status == TrialStatus.COMPLETED for trial in self.trials.values())
        if completed and not self._has_failed():
            return
        failed = [self.trials[name] for name in self.end_order if self.trials[name].status == TrialStatus.FAILED]
        if not failed:
            raise RuntimeError("No trial completed, for there was none to run: widen the search space or its budget")
        what = f"{self._failures} trials in a row failed" if completed else "No trial completed"
        reason = (failed[-1].message or "").strip().splitlines() or ["an objective that is not a number"]
        raise RuntimeError(f"{what}, the last one, {failed[-1].trial_id}, with: {reason[-1]}")

    def check(self):
        """Does nothing: a tuner in the oracle's own process cannot lose its trial. The client of a chief can."""

    def get_state(self):
        own = {"losses": self._losses, "tuner_ids": sorted(self.tuner_ids)}
        own |= {"exhausted": self._exhausted, "limit": self._limit()}
        return {**super().get_state(), **own}

    def set_state(self, state):
        now, display = datetime.datetime.now().isoformat(), state["display"]
        display["search_start"] = display["search_start"] or now
        for number, trial_id in enumerate(state["start_order"], 1):  # KerasTuner misses those that began unseen
            display["trial_start"].setdefault(trial_id, now)
            display["trial_number"].setdefault(trial_id, number)
        super().set_state(state)
        self._losses = state["losses"]
        self._exhausted = state["exhausted"] and state.get("limit") == self._limit()  # or there may be more by now
        self.tuner_ids = set(state["tuner_ids"])

    def begin(self):
        """Writes the first state, before any trial.

        Raises:
            ValueError: if there are trials already, whose `oracle.json` went missing.
        """
        if trials := sorted(pathlib.Path(self._project_dir).glob("trial_*/trial.json")):
            raise ValueError(f"{str(trials[0])!r} has no oracle.json beside it: restore that, or overwrite the search")
        self.save()

    def save(self):
        """Writes `oracle.json`; within a change, at its end."""
        self._changed = True
        if not self._commits:
            write_json(self._get_oracle_fname(), self.get_state())
            self._changed = False

    def reload(self):
        """Reads the state, and ends or forgets the trial at which a kill left its file ahead of `oracle.json`.

        Raises:
            ValueError: if a file is missing or not what was written.
        """
        path = pathlib.Path(self._get_oracle_fname())
        state = read_json(path, lambda state: state)
        names = read_json(path, lambda state: list(state["start_order"]))
        self.trials = {name: read_json(self._trial_file(name), Trial.from_state) for name in names}
        read_json(path, lambda _: self.set_state(state))
        self._began, self._heard = time.monotonic(), {}
        for trial in list(self.ongoing_trials.values()):
            if trial.status != TrialStatus.RUNNING:
                self.end_trial(trial)

    def _limit(self):
        """How many trials were asked for."""
        return self.max_trials

    def _has_failed(self):
        return self._failures >= (self.max_consecutive_failed_trials or math.inf)

    def _check_consecutive_failures(self):
        ended = self.trials[self.end_order[-1]]
        if ended.status != TrialStatus.FAILED:
            self._failures = 0
        elif ended.score is None:  # or its score is not a number
            self._failures += 1

    def _trial_file(self, trial_id):
        return pathlib.Path(self._project_dir) / f"trial_{trial_id}" / "trial.json"

    def _save_trial(self, trial):
        write_json(self._trial_file(trial.trial_id), trial.get_state())

    @contextlib.contextmanager
    def _commit(self):
        """A change of the state, with others within; `oracle.json` is written once, when the whole one went well."""
        with self.alone():
            self._commits += 1
            try:
                yield
            finally:
                self._commits -= 1
            if self._changed:
                self.save()
