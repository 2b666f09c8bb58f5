"""Optuna's studies over a space, with its own samplers and pruners."""

import keras
import pytest

import keras_densenet as kd
from keras_densenet.search import Budget, DenseNetHyperModel, measure, published, suggest
from keras_densenet.training import Recipe
from tests.search.test_search import RECIPE, SPACE
from tests.training.processes import stripes

optuna = pytest.importorskip("optuna", reason="Optuna is an extra: pip install 'keras-densenet[optuna]'")
optuna.logging.set_verbosity(optuna.logging.WARNING)

HYPERMODEL = DenseNetHyperModel((16, 16, 1), 10)
BUDGET = Budget(max_parameters=60_000)


def _study(**options):
    return optuna.create_study(**{"direction": "maximize", "sampler": optuna.samplers.TPESampler(seed=1), **options})


def _accuracy(network):
    return 1 / (1 + abs(network["growth_rate"] - 10))


def test_a_network_and_its_recipe_are_in_the_space_and_what_exceeds_the_budget_is_pruned():
    seen = []

    def objective(trial):
        network, recipe = suggest(trial, HYPERMODEL, BUDGET)
        seen.append((trial.number, network, recipe))
        return _accuracy(network)

    study = _study()
    study.optimize(objective, n_trials=25)
    states = [trial.state for trial in study.trials]
    assert states.count(optuna.trial.TrialState.PRUNED) == 25 - len(seen) > 0
    assert states.count(optuna.trial.TrialState.COMPLETE) == len(seen) > 0
    for number, network, recipe in seen:
        trial = study.trials[number]
        assert trial.user_attrs["parameters"] == kd.cost(network).trainable_parameters <= 60_000
        assert trial.user_attrs["macs"] == kd.cost(network).macs
        assert network == HYPERMODEL.network(trial.params)
        assert recipe == HYPERMODEL.recipe_at(trial.params)
        assert isinstance(recipe, Recipe)
        assert network["growth_rate"] in range(4, 25, 2)
        assert network["theta"] in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    pruned = next(trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED)
    assert pruned.user_attrs["parameters"] > 60_000


def test_ranges_keep_their_order_and_other_lists_are_categories():
    hypermodel = DenseNetHyperModel(
        (16, 16, 1), 10, blocks=[(1, 3), [2, 3, 5], 4], growth_rate="4:24:4", theta="0.5:0.9:0.2"
    )
    trial = _study().ask()
    network, _ = suggest(trial, hypermodel)
    kinds = {name: type(kind).__name__ for name, kind in trial.distributions.items()}
    assert kinds["block1"] == kinds["growth_rate"] == "IntDistribution"
    assert kinds["block2"] == kinds["bottleneck"] == "CategoricalDistribution"
    assert kinds["theta"] == kinds["learning_rate"] == "FloatDistribution"
    assert trial.distributions["learning_rate"].log
    assert trial.distributions["growth_rate"].step == 4
    assert "block3" not in kinds
    assert network["blocks"][2] == 4


def test_published_networks_can_be_enqueued_and_fronts_of_two_objectives_searched():
    points = published(HYPERMODEL, BUDGET)
    study = _study(direction=None, directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=1))
    for point in points.values():
        study.enqueue_trial(point)

    def objective(trial):
        network, _ = suggest(trial, HYPERMODEL, BUDGET)
        return _accuracy(network), trial.user_attrs["macs"]

    study.optimize(objective, n_trials=12)
    assert [trial.params for trial in study.trials[: len(points)]] == [*points.values()]
    assert study.best_trials
    assert all(trial.user_attrs["parameters"] <= 60_000 for trial in study.best_trials)


def test_images_that_are_too_small_prune_a_point():
    hypermodel = DenseNetHyperModel((8, 8, 1), 10, blocks="1:2 1:2 1:2 1:2 1:2")
    with pytest.raises(optuna.TrialPruned, match="input_shape must be at least 16x16"):
        suggest(_study().ask(), hypermodel)


@pytest.mark.slow
def test_a_study_trains_and_its_pruner_ends_a_training(tmp_path):
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **SPACE, recipe=RECIPE)
    epochs = []

    def objective(trial):
        def tell(epoch, logs):
            epochs.append((trial.number, epoch))
            assert 0 <= logs["val_accuracy"] <= 1
            trial.report(-trial.number, epoch)  # the first is better for certain
            if trial.should_prune():
                raise optuna.TrialPruned

        network, recipe = suggest(trial, hypermodel, Budget(max_parameters=3000))
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=tell)]
        folder = tmp_path / str(trial.number)
        return measure(network, recipe, stripes(), "stripes", folder, callbacks=callbacks)["val_accuracy"]

    study = _study(
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1), sampler=optuna.samplers.RandomSampler(seed=2)
    )
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED"]
    assert epochs == [(0, 0), (0, 1), (1, 0)]
    assert 0 <= study.best_value <= 1
