"""Asynchronous successive halving: networks that do badly after a few epochs stop there, and nobody waits for anybody.

Sources: Li and others, "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020, algorithm 2; and the delay
of Li and others, "Hyper-Tune", VLDB 2022: no more networks go on than shall in the end, though some do so too early.
"""

import math

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_densenet.architecture import check_count
from keras_densenet.search.oracles import Budgeted
from keras_densenet.training.task import score


class ASHA(Budgeted, keras_tuner.Oracle):
    """Asynchronous successive halving; arguments as in `Budgeted`.

    A network is trained to the first rung. Whoever asks for work gets the best network that is among the first
    `1 / factor` of its rung, which goes on to the next one, the highest rung first; where there is none, or as many
    went on already, a new network. So no worker waits for another before all networks have begun. In the end the best
    of each rung goes on, where it was passed over, and at least one network reaches the last epoch. As with Hyperband,
    each rung that a network is trained to is a trial, in the folder of its first one.

    Args:
        max_epochs: of the recipe, the last rung.
        max_trials: networks that begin.
        factor: one in so many goes on, to so many times the epochs.
        min_epochs: the first rung.

    Attributes:
        rungs: their epochs, a list.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> budget = kd.search.Budget(max_parameters=10_000)
        >>> kd.search.ASHA(hypermodel, budget, max_epochs=27, max_trials=30, min_epochs=2).rungs
        [2, 7, 27]
    """

    def __init__(self, *args, max_epochs, max_trials=20, factor=3, min_epochs=1, **options):
        self.rungs = rungs(max_epochs, factor, min_epochs)
        self.factor, self.networks = factor, max_trials
        super().__init__(*args, **options)

    def populate_space(self, trial_id):
        values = self._promoted() or self._begun()
        if values is None and not self.ongoing_trials:
            values = self._lifted()
        return {"status": TrialStatus.RUNNING if values else TrialStatus.STOPPED, "values": values}

    def _limit(self):
        return self.networks

    def _promoted(self):
        """The point of the best network that has earned more epochs; None where there is none."""
        for rung in reversed(range(len(self.rungs) - 1)):
            ended, waiting = self._rung(rung)
            places = len(ended) // self.factor
            chosen = [trial for trial in self._ranked(ended)[:places] if trial in waiting]
            if chosen and len(ended) - len(waiting) < places:
                return self._at(rung + 1, chosen[0])
        return None

    def _begun(self):
        """A new point on the first rung; None where there are enough, or none is left."""
        begun = sum(trial.hyperparameters.values["tuner/round"] == 0 for trial in self.trials.values())
        values = self._random_values() if begun < self.networks and not self.ending else None
        return values and {**values, "tuner/epochs": self.rungs[0], "tuner/initial_epoch": 0, "tuner/round": 0}

    def _lifted(self):
        """In the end, the point of the best of a rung that was passed over; and until one network is through, any."""
        through = self._ranked(self._rung(len(self.rungs) - 1)[0])
        for rung in reversed(range(len(self.rungs) - 1)):
            ended, waiting = map(self._ranked, self._rung(rung))
            if waiting and (waiting[0] is ended[0] or not through):
                return self._at(rung + 1, waiting[0])
        return None

    def _rung(self, number):
        """The trials that ended on a rung, and those of them that did not go on."""
        there = [trial for trial in self.trials.values() if trial.hyperparameters.values["tuner/round"] == number]
        ended = [trial for trial in there if trial.status in (TrialStatus.COMPLETED, TrialStatus.FAILED)]
        gone = {trial.hyperparameters.values.get("tuner/trial_id") for trial in self.trials.values()}
        return ended, [trial for trial in ended if trial.trial_id not in gone]

    def _ranked(self, trials):
        """Those that did not fail, the best first."""
        done = [trial for trial in trials if trial.status == TrialStatus.COMPLETED]
        return sorted(done, key=lambda trial: -score(self.objective.name, trial.score))

    def _at(self, rung, former):
        """The point of a trial on another rung, with what says where its run lies."""
        place = {"tuner/trial_id": former.trial_id, "tuner/initial_epoch": self.rungs[rung - 1]}
        return {**former.hyperparameters.values, **place, "tuner/epochs": self.rungs[rung], "tuner/round": rung}


def rungs(max_epochs, factor=3, min_epochs=1):
    """The epochs after which successive halving compares: each about `factor` times the one before."""
    check_count("max_epochs", max_epochs)
    check_count("min_epochs", min_epochs)
    check_count("factor", factor)
    if factor < 2:
        raise ValueError(f"factor must be at least 2, for one in so many goes on. Received: {factor=}")
    if min_epochs > max_epochs:
        raise ValueError(f"min_epochs must be at most the recipe's {max_epochs} epochs. Received: {min_epochs=}")
    steps = round(math.log(max_epochs / min_epochs, factor))
    return [round(min_epochs * (max_epochs / min_epochs) ** (step / steps)) for step in range(steps)] + [max_epochs]
