import keras_tuner
import pytest

import keras_densenet as kd
from keras_densenet.search import constructor_call, scaled
from keras_densenet.search.space import parse, text
from keras_densenet.training import Recipe

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
    hypermodel, hp = _space(blocks=[(2, 4), 6], bottleneck=[True, False], stem_channels=None)
    again = kd.DenseNetHyperModel(**hypermodel.get_config())
    assert again.get_config() == hypermodel.get_config()
    assert again.network(hp.values) == hypermodel.network(hp.values)


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
