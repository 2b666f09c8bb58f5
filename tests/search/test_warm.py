"""Warm starts: what networks share, and that a search tells which began so."""

import dataclasses
import math
import random

import pytest
import rich.console

import keras_densenet as kd
from keras_densenet import training
from keras_densenet.search import DenseNetHyperModel, search, warm
from keras_densenet.weights.files import load_alike
from tests.search.test_search import BUDGET, DATA, RECIPE
from tests.tiny import ONE_POINT
from tests.training.processes import stripes


def _network(chance):
    blocks = chance.choice([(1, 2), (2, 2), (2, 1)])
    network = {"blocks": blocks, "growth_rate": chance.choice([3, 4]), "bottleneck": chance.random() < 0.5}
    network |= {"theta": chance.choice([0.5, 1.0]), "stem_channels": chance.choice([4, 6])}
    return {**network, "input_shape": (8, 8, 1), "classes": 2}


@pytest.mark.parametrize("seed", range(4))
def test_what_networks_share_in_closed_form_is_what_is_loaded(seed, tmp_path):
    chance = random.Random(seed)
    here, there = _network(chance), _network(chance)
    model, other = kd.DenseNet(**here), kd.DenseNet(**there)
    kd.save_weights(other, tmp_path / "a.weights.h5")
    for variable in model.trainable_variables:
        variable.assign(variable + 7.0)
    before = {v.path: v.numpy() for v in model.trainable_variables}
    loaded = load_alike(model, tmp_path / "a.weights.h5")
    theirs = {f"{stage}/{v.name}": v for stage, layer in other.stages.items() for v in layer.weights}
    size = 0
    for stage, layer in model.stages.items():
        for variable in layer.trainable_weights:
            name = f"{stage}/{variable.name}"
            if name in loaded:
                assert (variable.numpy() == theirs[name].numpy()).all()
                size += math.prod(variable.shape)
            else:
                assert (variable.numpy() == before[variable.path]).all()
    assert size / kd.cost(here).trainable_parameters == pytest.approx(warm.shared(here, there))
    assert warm.shared(here, here) == 1


def test_the_neighbour_has_most_of_the_tensors_and_a_stranger_is_none():
    base = {"blocks": (2, 2), "growth_rate": 4, "theta": 0.5, "input_shape": (8, 8, 1), "classes": 2}
    deeper, wider = {**base, "blocks": (2, 3)}, {**base, "growth_rate": 5}
    assert warm.neighbour(deeper, {"wider": wider, "base": base}) == "base"
    assert warm.neighbour(base, {"wider": wider}) is None
    assert warm.neighbour(base, {}) is None


@pytest.mark.slow
def test_a_search_tells_which_trials_were_warm_and_confirms_from_scratch(tmp_path):
    recipe, folder = dataclasses.replace(RECIPE, epochs=1), tmp_path / "a"
    space = {**ONE_POINT, "growth_rate": 3, "learning_rate": "0.01:0.1"}
    hypermodel = DenseNetHyperModel((12, 12, 1), 2, **space, recipe=recipe)
    options = {"algorithm": "random", "trials": 2, "warm_start": True, "confirm": 1}
    results = search(folder, hypermodel, BUDGET, stripes(), DATA, **options)
    assert [row["warm_start"] for row in results.rows] == [None, "0"]
    names = [f"trial_{number}" for number in (0, 1)] + [f"compared/best, trial {results.best()['trial']}"]
    kinds = [training.load_record(folder / name / "run0")["arguments"]["kind"] for name in names]
    assert kinds == ["DenseNet", "DenseNet, begun with weights of trial 0", "DenseNet"]
    console = rich.console.Console(record=True, width=200)
    results.show(console)
    assert "begun with weights of another trial, which flatters them: 1; --confirm" in console.export_text()
    with pytest.raises(ValueError, match="other settings"):
        search(folder, hypermodel, BUDGET, stripes(), DATA, **{**options, "warm_start": False})
