import json

import keras_tuner
import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet.search import constructor_call, scaled
from keras_densenet.search.space import parse, text
from keras_densenet.training import RECIPES, Recipe

SHAPE = (8, 8, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("12", 12),
        ("0.5", 0.5),
        ("8,12,16", [8, 12, 16]),
        ("4:24", (4, 24)),
        ("4:24:2", (4, 24, 2)),
        ("1e-5:1e-3", (1e-5, 1e-3)),
        ("yes,no", [True, False]),
        ("yes", True),
        (None, None),
        ((4, 8), (4, 8)),
        ([3], 3),
    ],
)
def test_values_are_fixed_listed_or_a_range_and_survive_as_text(values, expected):
    assert parse(values) == expected
    assert parse(text(values)) == expected


@pytest.mark.parametrize("values", ["24:4", "4:", "a", "", "1:2:3:4", "1:9:0", [], (1,), [None, 3]])
def test_what_is_none_of_them_is_refused_in_one_sentence(values):
    with pytest.raises(ValueError, match=r"must be fixed \(12\), listed .* Received: ") as error:
        parse(values)
    assert "\n" not in str(error.value)


def _space(**values):
    hp = keras_tuner.HyperParameters()
    hypermodel = kd.DenseNetHyperModel(SHAPE, 3, **values)
    hypermodel.declare_hyperparameters(hp)
    return hypermodel, hp


def test_every_argument_can_be_fixed_narrowed_or_listed():
    fixed = {"theta": 0.5, "bottleneck": True, "dropout_rate": 0.1, "weight_decay": 1e-4, "stem_channels": None}
    hypermodel, hp = _space(blocks=[(2, 4), [3, 5], 6], growth_rate=(4, 12, 4), learning_rate=0.1, **fixed)
    assert {p.name: list(p.values) for p in hp.space} == {
        "block1": [2, 3, 4],
        "block2": [3, 5],
        "growth_rate": [4, 8, 12],
    }
    network = hypermodel.network({"block1": 3, "block2": 5, "growth_rate": 8})
    assert network["blocks"] == (3, 5, 6)
    assert kd.Architecture.plan(**network).stem_channels == 16
    assert hypermodel.recipe_at({}).weight_decay == 1e-4


def test_equal_blocks_have_one_number_of_layers():
    hypermodel, hp = _space(blocks="2:4 2:4 2:4", equal_blocks=True)
    assert [p.name for p in hp.space][:2] == ["layers", "growth_rate"]
    assert hypermodel.network({**hp.values, "layers": 3})["blocks"] == (3, 3, 3)


def test_a_range_with_a_step_has_both_ends():
    _, hp = _space(theta=(0.3, 1.0, 0.1))
    (theta,) = (p for p in hp.space if p.name == "theta")
    assert theta.values == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_a_hypermodel_comes_back_from_its_configuration():
    others = {"recipe": RECIPES["imagenet"], "steps_per_epoch": 7, "name": "mine", "tunable": False}
    hypermodel, hp = _space(blocks=[(2, 4), 6], bottleneck=[True, False], stem_channels=None, **others)
    config = json.loads(json.dumps(hypermodel.get_config()))
    again = kd.DenseNetHyperModel(**config)
    assert again.get_config() == hypermodel.get_config() == config
    assert again.network(hp.values) == hypermodel.network(hp.values)
    assert again.recipe == hypermodel.recipe == RECIPES["imagenet"]
    assert (again.name, again.tunable, again.steps_per_epoch) == ("mine", False, 7)


def test_what_float32_makes_of_a_point_is_undone():
    hypermodel, hp = _space()
    network = hypermodel.network({**hp.values, "theta": 0.699999988079071})
    assert network["theta"] == 0.7


def test_it_builds_a_compiled_model_for_any_tuner():
    hypermodel, hp = _space(blocks="1 2", growth_rate=4, steps_per_epoch=5, recipe=Recipe(epochs=2))
    hp.values["learning_rate"] = 0.2
    model = hypermodel.build(hp)
    assert model.architecture.blocks == (1, 2)
    assert model.output_shape == (None, 3)
    assert model.optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 10
    constant = kd.DenseNetHyperModel(SHAPE, 3, blocks="1", growth_rate=4, learning_rate=0.25).build(
        keras_tuner.HyperParameters()
    )
    assert float(constant.optimizer.learning_rate) == pytest.approx(0.25)


def test_in_a_name_scope_it_builds_from_its_own_hyperparameters():
    """Others of the same bare names are somebody else's."""
    hp = keras_tuner.HyperParameters()
    hp.Choice("growth_rate", [1, 2])
    hp.Float("learning_rate", 1.0, 2.0)
    hypermodel = kd.DenseNetHyperModel(
        SHAPE, 3, blocks="1:2 1", growth_rate="3:5:1", learning_rate="0.1:0.2", theta=0.5
    )
    with hp.name_scope("left"):
        hypermodel.build(hp)
    hp.values.update({"left/growth_rate": 5, "left/block1": 2, "left/learning_rate": 0.15})
    with hp.name_scope("left"):
        model = hypermodel.build(hp)
    assert model.architecture.blocks == (2, 1)
    assert model.architecture.growth_rate == 5
    assert float(model.optimizer.learning_rate) == pytest.approx(0.15)


def test_untunable_it_takes_what_is_there_and_adds_nothing():
    hp = keras_tuner.HyperParameters()
    hp.Fixed("growth_rate", 7)
    options = {"name": "backbone", "tunable": False, "stem_channels": None, "bottleneck": True}
    hypermodel = kd.DenseNetHyperModel(SHAPE, 3, blocks="1:3 1", growth_rate="4:8:1", **options)
    model = hypermodel.build(hp)
    assert (hypermodel.name, model.architecture.blocks, model.architecture.growth_rate) == ("backbone", (1, 1), 7)
    assert [parameter.name for parameter in hp.space] == ["growth_rate"]


@pytest.mark.slow
def test_one_class_is_a_sigmoid_and_binary_cross_entropy_for_kerastuners_own_tuners(tmp_path):
    fixed = {"theta": 0.5, "bottleneck": False, "dropout_rate": 0.0, "stem_channels": 4, "weight_decay": 1e-4}
    fixed |= {"learning_rate": 0.1, "recipe": kd.training.Recipe(xla=False)}
    hypermodel = kd.DenseNetHyperModel(SHAPE, 1, blocks="1 1", growth_rate="3:4:1", **fixed)
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=2, directory=tmp_path, project_name="a")
    images, labels = np.zeros((8, *SHAPE), "float32"), np.arange(8) % 2
    images[labels == 1, ::2] = 1
    tuner.search(images, labels, validation_data=(images, labels), epochs=1, verbose=0)
    assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
    model = tuner.get_best_models()[0]
    assert model.output_shape == (None, 1)
    assert model.layers[-1].activation.__name__ == "sigmoid"
    figures = model.evaluate(images, labels, return_dict=True, verbose=0)
    found = model.predict(images, verbose=0)[:, 0]
    assert figures["accuracy"] == pytest.approx(np.mean((found > 0.5) == labels))
    expected = -np.mean(np.log(np.where(labels == 1, found, 1 - found)))
    assert figures["loss"] == pytest.approx(expected, rel=1e-4)


def test_equal_blocks_of_different_values_are_refused():
    with pytest.raises(
        ValueError, match=r"equal_blocks needs the same values for all blocks. Received: blocks='1:2 3'"
    ):
        kd.DenseNetHyperModel(SHAPE, 3, blocks="1:2 3", equal_blocks=True)


def test_the_constructor_call_builds_the_network():
    hypermodel, hp = _space(blocks="1 2", growth_rate=4, stem_channels=None)
    network = hypermodel.network(hp.values)
    call = constructor_call(network)
    model = eval(call, {"kd": kd})
    assert model.count_params() > 0
    assert model.architecture == kd.Architecture.plan(**network)


def test_a_shape_is_scaled_to_the_largest_growth_rate_that_fits():
    network = {"depth": 40, "growth_rate": 12, "classes": 10, "input_shape": (16, 16, 1)}
    small = scaled(network, lambda smaller: kd.cost(smaller).trainable_parameters <= 100_000)
    assert kd.cost(small).trainable_parameters <= 100_000
    assert kd.cost({**small, "growth_rate": small["growth_rate"] + 1}).trainable_parameters > 100_000
    with pytest.raises(ValueError, match="No growth rate brings"):
        scaled(network, lambda smaller: False)


def test_no_block_is_refused():
    with pytest.raises(ValueError, match=r"layers of at least one block. Received: blocks=''"):
        kd.DenseNetHyperModel(SHAPE, 3, blocks="")
