"""Searching along the Pareto front of an objective and a cost, instead of for one point."""

import functools
import statistics
import time
import warnings

import keras
import numpy as np
import sklearn.gaussian_process
import tensorflow as tf
from keras_tuner.engine.trial import TrialStatus
from scipy.stats import norm

from keras_densenet.search.oracles import BayesianOptimization, GridSearch, RandomSearch
from keras_densenet.search.report import MEASURED, MINIMISED, pareto
from keras_densenet.training.task import score

CALLS = 15  # of a network that is timed
MARGIN = 0.1  # of the range of costs, by which the corner lies beyond it, or the costliest point would gain nothing


class ParetoOptimization(BayesianOptimization):
    """Points first as in `BayesianOptimization`, then those that promise most for the front of objective and cost.

    A cost is known in closed form, so that the Gaussian process models the objective alone. For each point that fits it
    gives the hypervolume that the point is expected to add to the front of what was trained, over the logarithm of the
    cost. Milliseconds are measured, and those of other points follow from a second process, over their closed-form
    costs and layers.

    Args:
        *args, **options: as for `BayesianOptimization`.
        minimise: the cost, "parameters", "macs", "activation_bytes", or "milliseconds", which trials report.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2))
        >>> oracle = kd.search.ParetoOptimization(hypermodel, kd.search.Budget(), max_trials=5, minimise="macs")
        >>> oracle.front()  # of the trials that completed
        []
    """

    def __init__(self, *args, minimise="macs", **options):
        self.minimise = minimise
        super().__init__(*args, **options)

    def front(self):
        """The completed trials than which no other is at least as good and at most as costly, the cheapest first."""
        done = self._done()
        return [done[index] for index in pareto(self._costs(done), self._scores(done))]

    def populate_space(self, trial_id):
        done = self._done()
        if len(done) < self.num_initial_points:
            return self._random_populate_space()
        running = [trial for trial in self.ongoing_trials.values() if trial not in done]
        x = [self._vector(trial.hyperparameters.values) for trial in (*done, *running)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a kernel at its bounds
            scores = self._scores(done)
            self.gpr.fit(x[: len(done)], scores)
            if running:  # as if they had become what is expected
                self.gpr.fit(x, np.concatenate([scores, self.gpr.predict(x[len(done) :])]))
            smooth = self.gpr.predict(x)  # a front of what was measured would be one of the lucky
            best = [done[index] for index in pareto(self._costs(done), smooth[: len(done)])]
            candidates = [*self._neighbours(best), *self._some()]
            if not candidates:
                return self._random_populate_space()  # which may find the last ones
            means, spreads = self.gpr.predict([*map(self._vector, candidates)], return_std=True)
            costs = self._costs(done, [*(trial.hyperparameters.values for trial in running), *candidates])
        corner = costs.max() + MARGIN * np.ptp(costs), scores.min()
        gains = expected_improvement(costs[len(x) :], means, spreads, staircase(costs[: len(x)], smooth, corner))
        return {"status": TrialStatus.RUNNING, "values": candidates[np.argmax(gains)]}

    def _done(self):
        return [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]

    def _scores(self, trials):
        """Scores of which higher ones are better."""
        return np.array([score(self.objective.name, trial.score) for trial in trials])

    def _costs(self, done, others=()):
        """Logarithms of the costs of trials, and of other points."""
        points = [*(trial.hyperparameters.values for trial in done), *others]
        networks = [self.hypermodel.network(values) for values in points]
        figures = [self.budget.figures(network) for network in networks]
        if self.minimise != MEASURED:
            return np.log([each[self.minimise] for each in figures])
        found = np.log([trial.metrics.get_last_value(MEASURED) for trial in done])
        if not others:
            return found
        x = np.log([[*each.values(), sum(net["blocks"])] for each, net in zip(figures, networks, strict=True)])
        process = _process(super()._make_gpr(), x.shape[1]).fit(x[: len(done)], found)
        return np.concatenate([found, process.predict(x[len(done) :])])

    def _make_gpr(self):
        return _process(super()._make_gpr(), len(self.hyperparameters.space))


def along_the_front(kind, minimise):
    """An algorithm's class, or what makes its oracle where a cost is minimised beside the objective.

    Raises:
        ValueError: for an unknown cost, or an algorithm that looks at the objective alone.
    """
    if minimise is None:
        return kind
    if minimise not in MINIMISED:
        raise ValueError(f"minimise must be one of {', '.join(MINIMISED)}. Received: minimise={minimise!r}")
    if kind is BayesianOptimization:
        return functools.partial(ParetoOptimization, minimise=minimise)
    if kind in (RandomSearch, GridSearch):  # which look at no result
        return kind
    raise ValueError(
        "minimise must come with algorithm='bayesian', or 'random' or 'grid' to compare it with: others go on with "
        f"what is best in the objective alone. Received: minimise={minimise!r} with {kind.__name__}"
    )


def _process(process, inputs):
    """A Gaussian process that learns of each input how much it matters: of many nothing depends."""
    kernel = sklearn.gaussian_process.kernels.Matern(np.ones(inputs), (0.1, 100), nu=2.5)
    return process.set_params(kernel=kernel, n_restarts_optimizer=0)


def staircase(costs, scores, corner):
    """The best score that is to be had for a cost, as steps.

    Args:
        costs: of some points, numbers.
        scores: of the points; higher is better.
        corner: `(cost, score)`, from which a hypervolume is measured: what is costlier or worse counts for nothing.

    Returns:
        Edges of the steps, an array `(n + 2,)` from -inf to the corner's cost, and their heights, an array `(n + 1,)`
        from the corner's score upwards.
    """
    limit, floor = corner
    order = np.argsort(costs, kind="stable")
    edges = np.concatenate([[-np.inf], np.minimum(np.asarray(costs)[order], limit), [limit]])
    return edges, np.maximum.accumulate(np.concatenate([[floor], np.asarray(scores)[order]]))


def hypervolume(costs, scores, corner):
    """The area between the front of some points and a corner; arguments as in `staircase`."""
    edges, heights = staircase(costs, scores, corner)
    return float(np.diff(edges[1:]) @ (heights[1:] - corner[1]))


def expected_improvement(costs, means, spreads, steps):
    """The hypervolume that points are expected to add, whose costs are known and whose scores are normal.

    With a known cost it is the sum, over the steps of the front that are not cheaper, of the step's width times the
    ordinary expected improvement over its height.

    Args:
        costs: of the points, `(m,)`.
        means: of their scores, `(m,)`.
        spreads: standard deviations of their scores, `(m,)`.
        steps: what `staircase` gave.

    Returns:
        An array `(m,)`.
    """
    edges, heights = steps
    costs, means, spreads = (np.asarray(values)[:, None] for values in (costs, means, np.maximum(spreads, 1e-9)))
    widths = np.clip(edges[1:] - np.maximum(edges[:-1], costs), 0, None)
    z = (means - heights) / spreads
    return (widths * spreads * (z * norm.cdf(z) + norm.pdf(z))).sum(axis=1)


def milliseconds(path):
    """How long a trained network takes for one image on this machine.

    Args:
        path: of its `.keras` file.

    Returns:
        The median over some calls, in milliseconds.
    """
    model = keras.models.load_model(path, compile=False)
    answer = tf.function(lambda image: model(image, training=False))
    image, found = tf.zeros((1, *model.input_shape[1:])), []
    answer(image)  # traces it
    for _ in range(CALLS):
        began = time.perf_counter()
        answer(image).numpy()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)
