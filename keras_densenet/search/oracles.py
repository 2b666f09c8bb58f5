"""KerasTuner's algorithms, which draw again until a point is within the budget and new."""

import dataclasses
import itertools
import math
import random
import warnings

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from keras_densenet.search import warm
from keras_densenet.search.progress import Watch
from keras_densenet.search.published import published
from keras_densenet.search.robust import RobustOracle
from keras_densenet.training.task import MANY, ONE, direction

OBJECTIVES = tuple(dict.fromkeys(f"val_{name}" for name in (*ONE, *MANY)))
DRAWS = 10_000  # of points in a row that do not fit or are not new, after which none is left
ENUMERATED = 20_000  # the most points of a space that are looked at one by one
SAMPLED = 1_000  # points that tell the share of a larger space
CANDIDATES = 300  # points among which a Gaussian process chooses


@dataclasses.dataclass(frozen=True)
class Share:
    """How many of the points that were looked at fit, and whether these were all points."""

    fitting: int
    points: int
    exact: bool

    def __str__(self):
        share = f"{self.fitting / self.points:.2%}".replace(".00%", "%")
        if self.exact:
            return f"{self.fitting:,} of the {self.points:,} networks in the space ({share}) are within the budget"
        error = math.sqrt(max(self.fitting, 1) * (self.points - self.fitting + 1)) / self.points**1.5
        return f"{share} (+- {error:.2%}) of {self.points:,} networks drawn from the space are within the budget"


class Budgeted(RobustOracle):
    """Mixin that stands before one of KerasTuner's oracles.

    Args:
        hypermodel: a `DenseNetHyperModel`.
        budget: a `Budget`.
        objective: name of what to search for, see `OBJECTIVES`.
        warm_start: whether a network begins with weights of the completed one that has most of its tensors, if there
            is one; "tuner/warm_start" of its trial's values is the other trial then.
        **options: of KerasTuner's oracle.

    Attributes:
        share: how much of the space fits, a `Share`.
        published: points that come first, in the first third of the trials: what `published.published` gives.
        ending: why there are no more points, once there are none; else None.

    Raises:
        ValueError: if no point fits, or for another objective.
    """

    begins_published = True

    def __init__(self, hypermodel, budget, objective="val_accuracy", warm_start=False, **options):
        space = keras_tuner.HyperParameters()
        hypermodel.declare_hyperparameters(space)
        if not isinstance(objective, str) or objective not in OBJECTIVES:
            raise ValueError(
                f"objective must be one of {', '.join(OBJECTIVES)}; the budget limits a network's cost, and minimise "
                f"(--minimise) searches along the Pareto front of both. Received: objective={objective!r}"
            )
        objective = keras_tuner.Objective(objective, direction(objective))
        super().__init__(objective=objective, hyperparameters=space, **options)
        self.hypermodel, self.budget, self.ending, self.warm_start = hypermodel, budget, None, warm_start
        self.share = self._share()
        if not self.share.fitting:
            self._explain()
        self.published = published(hypermodel, budget) if self.begins_published else {}

    def create_trial(self, tuner_id):
        """Hands out a trial, which is told also where it began in a former process."""
        with self._commit():
            known = set(self.trials)
            trial = super().create_trial(tuner_id)
            if self.warm_start and trial.status == TrialStatus.RUNNING and trial.trial_id not in known:
                self._warm(trial)
        if trial.status == TrialStatus.RUNNING and isinstance(self._display, Watch):
            self._display.on_trial_begin(trial)
        return trial

    def _warm(self, trial):
        """Notes which trial's weights a new one begins with; a later rung has the run of its first."""
        values = trial.hyperparameters.values
        if "tuner/trial_id" in values:
            return
        done = [other for other in self.trials.values() if other.status == TrialStatus.COMPLETED]
        others = {other.trial_id: other.hyperparameters.values for other in done}
        networks = {name: self.hypermodel.network(at) for name, at in others.items() if "tuner/trial_id" not in at}
        if (former := warm.neighbour(self.hypermodel.network(values), networks)) is not None:
            values["tuner/warm_start"] = former
            self._save_trial(trial)

    def fits(self, values):
        """Whether the network at a point is within the budget."""
        return self.budget.fits(self.hypermodel.network(values))

    def points(self, costly=False):
        """All points, as dicts; with `costly` one for each network, since some hyperparameters cost nothing."""
        space = self.hyperparameters.space
        for values in itertools.product(*(_values(hp, costly) for hp in space)):
            yield {hp.name: value for hp, value in zip(space, values, strict=True)}

    def size(self, costly=False):
        """How many points there are; infinity where a hyperparameter is continuous."""
        return math.prod(
            math.inf if _is_continuous(hp) and not (costly and hp.name in FREE) else len(_values(hp, costly))
            for hp in self.hyperparameters.space
        )

    def draw(self):
        """Draws a point at random, which may be over the budget."""
        values = {}
        for hp in self.hyperparameters.space:
            values[hp.name] = hp.random_sample(self._seed_state)
            self._seed_state += 1
        return values

    def _compute_values_hash(self, values):
        """The point's alone: what says how far it is trained, and from where, makes no other point of it."""
        return super()._compute_values_hash({name: values[name] for name in values if not name.startswith("tuner/")})

    def admits(self, values):
        """Whether a point fits and was not tried."""
        return self.fits(values) and not self._duplicate(values)

    def _random_values(self):
        """A point that fits and was not tried, the published ones first; None where there is none."""
        if len(self.trials) < (max(3, self.max_trials // 3) if self.max_trials else math.inf):
            for values in self.published.values():
                if self.admits(values):
                    return dict(values)
        small = self.size() <= ENUMERATED
        for _ in range(DRAWS // 100 if small else DRAWS):
            if self.admits(values := self.draw()):
                return values
        if small and (left := [*filter(self.admits, self.points())]):
            return random.Random(self._seed_state).choice(left)
        return self._end()

    def _end(self):
        tried = f"{len(self.trials)} trial{'s' * (len(self.trials) != 1)}"
        self.ending = f"nothing new within the budget is left after {tried} ({self.share})"

    def _share(self):
        if self.size(costly=True) <= ENUMERATED:
            found = [*map(self.fits, self.points(costly=True))]
            return Share(sum(found), len(found), True)
        state, found = self._seed_state, [self.fits(self.draw()) for _ in range(SAMPLED)]
        if not any(found) and self.fits(self._smallest()):
            found += [self.fits(self.draw()) for _ in range(DRAWS)]
        self._seed_state = state
        return Share(sum(found), len(found), False)

    def _smallest(self):
        """The cheapest corner of the space."""
        return {hp.name: min(_values(hp)) for hp in self.hyperparameters.space}

    def _explain(self):
        """Raises ValueError, which says how far from the budget the space is."""
        network = self.hypermodel.network(self._smallest())
        try:
            excess = self.budget.excess(network)
        except ValueError as error:
            raise ValueError(f"The space has no valid network: {error}") from None
        if excess:
            raise ValueError(f"Nothing in the space is within the budget: its smallest network has {excess}")
        raise ValueError(f"{self.share}, too few to search: raise the budget or narrow the space")


class RandomSearch(Budgeted, keras_tuner.oracles.RandomSearchOracle):
    """Random search, which knows nothing beforehand: what others are compared with. Arguments as in `Budgeted`.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.RandomSearch(hypermodel, kd.search.Budget(max_parameters=10_000), max_trials=5)
    """

    begins_published = False


class Hyperband(Budgeted, keras_tuner.oracles.HyperbandOracle):
    """Hyperband, whose rounds go on where the round before stopped; arguments as in `Budgeted`.

    Args:
        max_epochs: of the recipe.
        max_trials: of all rounds together. Default: as many as Hyperband runs.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.Hyperband(hypermodel, kd.search.Budget(max_parameters=10_000), max_epochs=9)
    """

    def __init__(self, *args, max_trials=None, **options):
        super().__init__(*args, **options)
        self.max_trials = max_trials


class GridSearch(Budgeted, keras_tuner.Oracle):
    """All points in order, the last hyperparameter fastest; ten of each that is continuous.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.GridSearch(hypermodel, kd.search.Budget(max_parameters=10_000))
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._left = self.points()

    def populate_space(self, trial_id):
        for values in self._left:  # begins anew in a new process, where those that were tried are known
            if self.admits(values):
                return {"status": TrialStatus.RUNNING, "values": values}
        self._end()
        return {"status": TrialStatus.STOPPED}


class BayesianOptimization(Budgeted, keras_tuner.oracles.BayesianOptimizationOracle):
    """Published and random points first, then those that a Gaussian process finds most promising.

    Args:
        *args, **options: as for `Budgeted`.
        num_initial_points: trials before the process. Default: a third of them, at least 3.

    KerasTuner's own looks for the best point anywhere and minimises from 50 starts; here it is chosen among points that
    fit and are new, random ones and neighbours of the best.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.BayesianOptimization(hypermodel, kd.search.Budget(max_parameters=10_000), max_trials=5)
    """

    def __init__(self, *args, max_trials=20, num_initial_points=None, **options):
        initial = max(3, max_trials // 3) if num_initial_points is None else num_initial_points
        super().__init__(*args, max_trials=max_trials, num_initial_points=initial, **options)

    def populate_space(self, trial_id):
        done = [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]
        if len(done) < self.num_initial_points:
            return self._random_populate_space()
        sign = -1 if self.objective.direction == "max" else 1
        done.sort(key=lambda trial: sign * trial.score)
        candidates = [*self._neighbours(done[:3]), *self._some()]
        if not candidates:
            return self._random_populate_space()  # which may find the last ones
        scores = [sign * trial.score for trial in done]
        running = [trial for trial in self.ongoing_trials.values() if trial not in done]
        x = np.array([self._vector(trial.hyperparameters.values) for trial in (*done, *running)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a kernel at its bounds
            self.gpr.fit(x, scores + [float(np.mean(scores))] * len(running))
            mean, spread = self.gpr.predict([*map(self._vector, candidates)], return_std=True)
        return {"status": TrialStatus.RUNNING, "values": candidates[np.argmin(mean - self.beta * spread)]}

    def _some(self):
        """New points that fit, among so many draws."""
        return filter(self.admits, (self.draw() for _ in range(2 * CANDIDATES)))

    def _neighbours(self, trials):
        """New points that fit, near those of some trials."""
        chance = np.random.default_rng(self._seed_state)
        for trial in trials:
            vector = np.array(self._vector(trial.hyperparameters.values))
            for _ in range(CANDIDATES // len(trials)):
                moved = np.where(chance.random(len(vector)) < 0.3, chance.normal(vector, 0.2), vector)
                values = {
                    hp.name: hp.prob_to_value(float(prob))
                    for hp, prob in zip(self.hyperparameters.space, np.clip(moved, 0, 1 - 1e-9), strict=True)
                }
                if self.admits(values):
                    yield values

    def _vector(self, values):
        return [hp.value_to_prob(values[hp.name]) for hp in self.hyperparameters.space]

    def _make_gpr(self):
        process = super()._make_gpr()
        return process.set_params(n_restarts_optimizer=2, alpha=1e-2)  # accuracies of one seed are noisy


FREE = ("dropout_rate", "learning_rate", "weight_decay")  # what costs nothing


def _is_continuous(hp):
    return isinstance(hp, keras_tuner.engine.hyperparameters.Float) and hp.step is None


def _values(hp, costly=False):
    if costly and hp.name in FREE:
        return [hp.default]
    return sorted(hp.values) if _is_continuous(hp) else [*hp.values]
