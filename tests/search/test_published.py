"""What a search knows before it begins: the published networks, within its space and budget."""

import keras_tuner
import pytest

import keras_densenet as kd
from keras_densenet.cli.search import space_of
from keras_densenet.search import ALGORITHMS, Budget, published
from keras_densenet.training import Recipe

SHAPE = (16, 16, 1)
SPACES = {
    "default": {},
    "cifar": space_of("cifar")[1],
    "few": {"blocks": [(2, 5), [3, 9], 4], "growth_rate": [5, 9], "bottleneck": True, "learning_rate": 0.1},
    "continuous": {"growth_rate": (4.0, 12.0), "theta": (0.6, 1.0), "stem_channels": None},
}


@pytest.mark.parametrize("name", SPACES)
def test_its_points_are_in_the_space_within_the_budget_and_distinct(name):
    hypermodel, budget = kd.DenseNetHyperModel(SHAPE, 10, **SPACES[name]), Budget(max_parameters=300_000)
    space = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(space)
    points = published(hypermodel, budget)
    assert points
    for index, point in enumerate(points.values()):
        assert list(point) == [hp.name for hp in space.space]
        assert budget.fits(hypermodel.network(point))
        assert point not in [*points.values()][:index]
        for hp in space.space:
            value = point[hp.name]
            assert hp.min_value <= value <= hp.max_value if hasattr(hp, "min_value") else value in hp.values


def test_a_network_in_the_space_is_itself_and_one_over_the_budget_is_as_wide_as_fits():
    recipe = Recipe(learning_rate=0.07, weight_decay=2e-4, augmentation="cifar")
    hypermodel = kd.DenseNetHyperModel((32, 32, 3), 10, blocks="2:8 2:8 2:8", growth_rate="4:24:1", recipe=recipe)
    small = Budget(max_parameters=100_000)
    whole, scaled = (published(hypermodel, budget)["densenet-bc-40-12"] for budget in (Budget(), small))
    for point in (whole, scaled):
        network = hypermodel.network(point)
        assert (network["blocks"], network["theta"], network["bottleneck"]) == ((6, 6, 6), 0.5, True)
        assert network["dropout_rate"] == 0
        assert (point["learning_rate"], point["weight_decay"]) == (0.07, 2e-4)
    assert whole["growth_rate"] == 12
    assert small.fits(hypermodel.network(scaled))
    assert not small.fits(hypermodel.network({**scaled, "growth_rate": scaled["growth_rate"] + 1}))


def test_where_no_growth_rate_is_small_enough_the_blocks_shrink():
    hypermodel = kd.DenseNetHyperModel(SHAPE, 10, blocks="1:6 1:6 1:6", growth_rate=12, stem_channels=None)
    network = hypermodel.network(published(hypermodel, Budget(max_parameters=60_000))["densenet-bc-40-12"])
    assert network["growth_rate"] == 12
    assert 1 < network["blocks"][0] < 6
    assert len(set(network["blocks"])) == 1


def test_imagenets_networks_are_in_imagenets_space_and_none_where_nothing_fits():
    hypermodel = kd.DenseNetHyperModel((224, 224, 3), 1000, **space_of("imagenet")[1])
    points = published(hypermodel, Budget(max_macs=2_900_000_000))
    network = hypermodel.network(points["densenet121"])
    assert kd.Architecture.plan(**network).blocks == (6, 12, 24, 16)
    assert network["growth_rate"] == 32
    assert "densenet-bc-100-12" not in points
    assert published(hypermodel, Budget(max_parameters=1000)) == {}


@pytest.mark.parametrize("algorithm", ["bayesian", "hyperband", "random"])
def test_a_search_begins_with_them_once_and_random_search_does_not(algorithm, tmp_path):
    specific = {"max_epochs": 9} if algorithm == "hyperband" else {}
    hypermodel, budget = kd.DenseNetHyperModel(SHAPE, 10), Budget(max_parameters=100_000)
    oracle = ALGORITHMS[algorithm](hypermodel, budget, max_trials=20, seed=1, **specific)
    oracle.verbose = 0
    oracle._set_project_dir(str(tmp_path), "search")
    known, points = published(hypermodel, budget), []
    for number in range(6):
        values = oracle.create_trial(f"tuner{number}").hyperparameters.values
        points.append({name: value for name, value in values.items() if not name.startswith("tuner/")})
    if algorithm == "random":
        assert not any(point in known.values() for point in points)
    else:
        assert points[:4] == [*known.values()]
        assert not any(point in known.values() for point in points[4:])


def test_few_trials_are_not_all_published(tmp_path):
    oracle = ALGORITHMS["bayesian"](kd.DenseNetHyperModel(SHAPE, 10), Budget(), max_trials=5, seed=1)
    oracle.verbose = 0
    oracle._set_project_dir(str(tmp_path), "search")
    points = [oracle.create_trial(f"tuner{number}").hyperparameters.values for number in range(4)]
    assert sum(point in oracle.published.values() for point in points) == 3
