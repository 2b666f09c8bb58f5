"""ASHA against Hyperband on a closed form: python -m benchmarks.halving. Some minutes, nothing is trained.

A network's accuracy is a noisy function of its layers, growth rate, theta, learning rate and of the epochs that it was
trained, and saturates in all of them: all networks at one pace, or deeper ones later, which is hard for who compares
early. Four workers take trials, and an epoch lasts as long as the network has MACs. Both search 20 times, ASHA with 60
networks.
"""

import heapq
import math
import statistics
import tempfile

import numpy as np

from benchmarks.race import save
from keras_densenet import search

EPOCHS, NETWORKS, SEEDS, WORKERS = 27, 60, 20, 4
SPACE = {"blocks": "2:24 2:24 2:24", "equal_blocks": True, "growth_rate": "4:32:2", "theta": "0.3:1.0:0.1"}
SPACE |= {"bottleneck": True, "dropout_rate": 0.0, "stem_channels": None, "learning_rate": "0.003:3.0"}
SPACE |= {"weight_decay": 1e-4}
NOISE = 0.01
PACES = {"one pace": 0.0, "deeper ones later": 1 / 8}  # epochs for each layer of a block that learning takes longer


def accuracy(values, epoch, pace=0.0):
    """What a network would reach after an epoch, without noise."""
    layers, growth_rate, theta = values["layers"], values["growth_rate"], values["theta"]
    step = math.log10(values["learning_rate"] / 0.1)
    best = 0.97 - 0.25 * math.exp(-layers / 6) - 0.25 * math.exp(-growth_rate / 8) - 0.05 * (1 - theta)
    best -= 0.2 * step**2
    slow = 4 if not pace else 2 + pace * layers
    return max(0.1, best) - max(0.0, best - 0.1) * math.exp(-((epoch / slow) ** 0.7))


def play(oracle, seed, workers=WORKERS, pace=0.0):
    """Runs a search with workers of which each takes as long as its networks cost.

    Returns:
        A dict for each trial that ended, in order: epochs that all had trained by then, the trial's epoch, what it
        scored and without noise, its values; and how often a worker that asked got nothing, with the trials so far.
    """
    running, idle, asking, ended, waited, spent = [], [], [*range(workers)], [], [], 0
    clock = 0.0
    while asking or running:
        for worker in asking:
            trial = oracle.create_trial(f"worker{worker}")
            if trial.status == "RUNNING":
                values = trial.hyperparameters.values
                epochs = values["tuner/epochs"] - values["tuner/initial_epoch"]
                seconds = epochs * oracle.budget.figures(oracle.hypermodel.network(values))["macs"] / 1e8
                heapq.heappush(running, (clock + seconds, worker, trial))
            elif trial.status == "IDLE":
                idle.append(worker)
                waited.append(len(oracle.trials))
        asking = []
        if running:
            clock, worker, trial = heapq.heappop(running)
            values, epoch = trial.hyperparameters.values, trial.hyperparameters.values["tuner/epochs"]
            truth = accuracy(values, epoch, pace)
            score = truth + np.random.default_rng([seed, int(trial.trial_id)]).normal(0, NOISE)
            oracle.update_trial(trial.trial_id, {"val_accuracy": score})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)
            spent += epoch - values["tuner/initial_epoch"]
            ended.append({"spent": spent, "epoch": epoch, "score": score, "truth": truth, "values": values})
            asking, idle = [worker, *idle], []
    return ended, waited


def winner(ended, spent=math.inf, epochs=EPOCHS):
    """Of the networks trained to the last epoch, the one with the best score after so many epochs of all."""
    done = [row for row in ended if row["epoch"] == epochs and row["spent"] <= spent]
    return max(done, key=lambda row: row["score"], default={"truth": 0.0, "spent": math.inf})


def oracle_of(algorithm, folder, seed, epochs=EPOCHS, networks=NETWORKS):
    """An oracle of `ALGORITHMS` that keeps its state in a folder."""
    hypermodel = search.DenseNetHyperModel((32, 32, 3), 10, **SPACE)
    options = {"max_trials": networks} if algorithm == "asha" else {}
    # An oracle draws each number from the next seed: neighbours would draw the same.
    oracle = search.ALGORITHMS[algorithm](hypermodel, search.Budget(), seed=10_000 * seed, max_epochs=epochs, **options)
    oracle.verbose = 0
    oracle._set_project_dir(folder, f"{algorithm}-{seed}")
    return oracle


def compare(seed, folder, pace=0.0, epochs=EPOCHS, networks=NETWORKS):
    """Both searches with a seed, a dict of figures."""
    names = ("hyperband", "asha")
    hyperband, asha = (play(oracle_of(name, folder, seed, epochs, networks), seed, pace=pace)[0] for name in names)
    total, best = hyperband[-1]["spent"], winner(hyperband, epochs=epochs)
    found = {"seed": seed, "hyperband_epochs": total, "hyperband_accuracy": round(best["truth"], 4)}
    found |= {"asha_epochs": asha[-1]["spent"], "asha_accuracy": round(winner(asha, epochs=epochs)["truth"], 4)}
    return found | {"asha_accuracy_in_half": round(winner(asha, total / 2, epochs)["truth"], 4)}


def gain(rows):
    """By how much ASHA's best in half the epochs is more accurate than Hyperband's: mean and half of its interval."""
    gains = [row["asha_accuracy_in_half"] - row["hyperband_accuracy"] for row in rows]
    return statistics.fmean(gains), 2.09 * statistics.stdev(gains) / math.sqrt(len(gains))


def main():
    rows = []
    for name, pace in PACES.items():
        with tempfile.TemporaryDirectory() as folder:
            found = [compare(seed, folder, pace) for seed in range(1, SEEDS + 1)]
        rows += [{"networks": name, **row} for row in found]
        means = {key: statistics.fmean(row[key] for row in found) for key in found[0] if key != "seed"}
        print(f"{name}: in half of Hyperband's epochs {{:+.4f}} (+- {{:.4f}}) of accuracy".format(*gain(found)))
        print("  means: " + ", ".join(f"{key} {value:.4f}" for key, value in means.items()))
    save("search, asha and hyperband", rows)


if __name__ == "__main__":
    main()
