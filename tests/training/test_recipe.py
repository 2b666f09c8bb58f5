import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_densenet.training import RECIPES, Recipe


def test_the_papers_recipes():
    for name, (epochs, batch_size, dropout) in {
        "cifar": (300, 64, 0.0),
        "svhn": (40, 64, 0.2),
        "imagenet": (90, 256, 0.0),
    }.items():
        recipe = RECIPES[name]
        assert (recipe.epochs, recipe.batch_size, recipe.dropout) == (epochs, batch_size, dropout)
        assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.1, 0.9, 1e-4)
        assert recipe.optimizer(updates=7).nesterov


@pytest.mark.parametrize(("name", "drops"), [("cifar", (150, 225)), ("svhn", (20, 30)), ("imagenet", (30, 60))])
def test_the_rate_is_divided_by_ten_with_the_first_step_of_an_epoch(name, drops):
    rates = RECIPES[name].learning_rates(steps=11)
    for drop, before in zip(drops, (0.1, 0.01), strict=True):
        np.testing.assert_allclose(rates(drop * 11 - 1), before, rtol=1e-6)
        np.testing.assert_allclose(rates(drop * 11), before / 10, rtol=1e-6)


@settings(deadline=None, max_examples=20)
@given(epochs=st.integers(1, 20), warmup=st.floats(0, 30), updates=st.integers(1, 9))
def test_the_cosine_rises_to_the_highest_rate_and_falls_towards_zero(epochs, warmup, updates):
    rates = Recipe(epochs=epochs, warmup_epochs=warmup, learning_rate=0.5).learning_rates(updates)
    values = [float(rates(step)) for step in range(epochs * updates + 1)]
    top = int(np.argmax(values))
    np.testing.assert_allclose(values[top], 0.5, rtol=1e-5)
    assert values == sorted(values[: top + 1]) + sorted(values[top + 1 :], reverse=True)
    assert values[-1] < 1e-6


def test_dropout_is_the_papers_only_where_images_are_not_varied():
    assert dataclasses.replace(RECIPES["cifar"], augmentation="none").dropout == 0.2
    assert dataclasses.replace(RECIPES["cifar"], dropout_rate=0.1).dropout == 0.1


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
        {"ema": 1.0},
        {"schedule": "linear"},
        {"normalise": "mean"},
        {"drops": (0.7, 0.2)},
        {"drops": (0.5,)},
        {"drops": (), "schedule": "steps"},
        {"mixed_precision": "float8"},
        {"dropout_rate": 1.0},
        {"accumulate": 3},
        {"warmup_epochs": 1.0, "schedule": "steps"},
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"{name} (must|needs) .*Received: {name}="):
        Recipe(**wrong)


def test_another_schedule_leaves_what_belonged_to_the_old_one():
    steps = RECIPES["short"].changed(schedule="steps")
    assert (steps.schedule, steps.drops, steps.warmup_epochs) == ("steps", (0.5, 0.75), 0)
    assert RECIPES["short"].changed(schedule="steps", drops=(0.9,)).drops == (0.9,)
    assert RECIPES["imagenet"].changed(schedule="steps").drops == RECIPES["imagenet"].drops
    cosine = RECIPES["cifar"].changed(schedule="cosine", warmup_epochs=3)
    assert (cosine.schedule, cosine.drops, cosine.warmup_epochs) == ("cosine", (), 3)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("short", {"schedule": "steps", "warmup_epochs": 1.0}),
        ("short", {"drops": (0.5,)}),
        ("cifar", {"schedule": "cosine", "drops": (0.5,)}),
        ("short", {"epochs": 3, "warmup_epochs": 3.0}),
    ],
)
def test_a_change_that_would_have_no_effect_is_refused(name, changes):
    wrong = list(changes)[-1]
    with pytest.raises(ValueError, match=rf"{wrong} (must|needs) .*Received: {wrong}="):
        RECIPES[name].changed(**changes)


def test_fewer_epochs_than_a_recipe_warms_up_for_are_no_mistake_of_who_asks_for_them():
    assert RECIPES["short"].changed(epochs=1).epochs == 1


def test_a_recipe_comes_back_from_json():
    recipe = RECIPES["imagenet"]
    assert Recipe(**json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe
