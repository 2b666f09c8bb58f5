"""The front that a search along accuracy and MACs finds, against random search's: python -m benchmarks.front.

60 trials each, 20 seeds, within 100,000 parameters, over the default space on images of 16x16. Nothing is trained: a
closed form stands in for accuracy, which saturates in depth, growth rate and theta, and a trial sees it with noise. Of
each search the front of what it saw is taken, and the hypervolume of that front's true accuracies measured, over the
logarithm of MACs. Its reference is the worst of both: the MACs of the costliest network within the budget, and the
accuracy of the cheapest one. A quarter of an hour on 2 cores.
"""

import math
import sys
import tempfile

import numpy as np
import rich.progress

from benchmarks.race import save
from keras_densenet import search
from keras_densenet.search.front import hypervolume, pareto

TRIALS, SEEDS, NOISE = 60, 20, 0.01
SPACE = search.DenseNetHyperModel((16, 16, 1), 10)
BUDGET = search.Budget(max_parameters=100_000)
TITLE = "search, front, random against steered"


def accuracy(network):
    """The stand-in: what a network would reach, without noise."""
    depth, growth_rate, theta = sum(network["blocks"]), network["growth_rate"], network["theta"]
    return 0.98 * (1 - math.exp(-depth / 5)) * (1 - math.exp(-growth_rate / 6)) * (1 - math.exp(-theta / 0.2))


def reference():
    """The corner of a hypervolume, `(log MACs, accuracy)`, and the hypervolume of the best front that there is."""
    oracle = search.RandomSearch(SPACE, BUDGET)
    networks = [*filter(BUDGET.fits, map(SPACE.network, oracle.points(costly=True)))]
    costs = np.log([BUDGET.figures(network)["macs"] for network in networks])
    accuracies = np.array([accuracy(network) for network in networks])
    corner = costs.max(), accuracies[costs.argmin()]
    return corner, hypervolume(costs, accuracies, corner)


def found(oracle, seed, corner):
    """The hypervolume of a search's front.

    Args:
        oracle: one of a search.
        seed: of the noise.
        corner: what `reference` gave.
    """
    noise, costs, seen, true = np.random.default_rng(seed), [], [], []
    with tempfile.TemporaryDirectory() as folder:
        oracle._set_project_dir(folder, "search")
        oracle.verbose = 0
        while (trial := oracle.create_trial("tuner0")).status == "RUNNING":
            network = SPACE.network(trial.hyperparameters.values)
            costs.append(math.log(BUDGET.figures(network)["macs"]))
            true.append(accuracy(network))
            seen.append(true[-1] + noise.normal(0, NOISE))
            oracle.update_trial(trial.trial_id, {"val_accuracy": seen[-1]})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
    front = pareto(costs, seen)
    return hypervolume(np.array(costs)[front], np.array(true)[front], corner)


def main(seeds=SEEDS):
    corner, most = reference()
    rows = []
    for seed in rich.progress.track(range(seeds), "seeds"):
        options = {"max_trials": TRIALS, "seed": seed}
        steered = found(search.ParetoOptimization(SPACE, BUDGET, minimise="macs", **options), seed, corner)
        drawn = found(search.RandomSearch(SPACE, BUDGET, **options), seed, corner)
        row = {"seed": seed, "random": drawn, "steered": steered, "ratio": steered / drawn, "most": most}
        rows.append({name: round(figure, 4) for name, figure in row.items()})
        print(rows[-1], flush=True)
    save(TITLE, rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
