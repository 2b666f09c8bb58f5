"""Models that share a network's weights: their layers' outputs are their own, and inference is what happens unasked."""

import keras
import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet.models.flat import flat
from tests.around import AROUND, SHAPE, pixels_for
from tests.oracle import randomise
from tests.tiny import network


def _loaded(model, path):
    model.save(path / "model.keras")
    return keras.models.load_model(path / "model.keras")


HANDED_OUT = {
    "built": lambda model, path: model,
    "with_preprocessing": lambda model, path: model.with_preprocessing("torch"),
    "with_preprocessing and a size": lambda model, path: model.with_preprocessing("torch", SHAPE[:2], 0.9),
    "reset_classifier": lambda model, path: model.reset_classifier(2),
    "both": lambda model, path: model.with_preprocessing("unit").reset_classifier(2),
    "the other way round": lambda model, path: model.reset_classifier(2).with_preprocessing("unit"),
    "feature_pyramid": lambda model, path: kd.feature_pyramid(model.with_preprocessing("unit")),
    "fold": lambda model, path: kd.fold(model.with_preprocessing("unit")),
    "folded first": lambda model, path: kd.fold(model).with_preprocessing("unit"),
    "flat": lambda model, path: flat(keras.Model(model.input, keras.layers.Softmax()(model(model.input)))),
    "loaded": lambda model, path: _loaded(model.with_preprocessing("unit"), path),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", HANDED_OUT)
def test_a_layers_output_is_of_the_model_it_was_asked_of(how, tmp_path):
    base = randomise(network())
    model = HANDED_OUT[how](base, tmp_path)
    pixels = pixels_for(base)
    before = np.array(kd.feature_pyramid(base, ["P0"])(pixels)["P0"])
    whole = keras.Model(model.input, {"features": model.get_layer("block1").output, "output": model.output})
    expected = kd.feature_pyramid(model, ["P0"])(pixels)["P0"] if isinstance(model, kd.DenseNetModel) else None
    found = whole(pixels)
    if expected is not None:
        np.testing.assert_allclose(found["features"], expected, rtol=1e-5, atol=1e-5)
    own = keras.Model(base.input, base.get_layer("block1").output)
    np.testing.assert_array_equal(own(pixels), before)  # and the network it comes from is as it was


@pytest.mark.slow
def test_training_one_model_trains_the_other():
    base = network()
    raw = base.with_preprocessing("torch")
    raw.compile("sgd", "sparse_categorical_crossentropy")
    pixels, before = pixels_for(base), [weight.numpy() for weight in base.weights]
    raw.train_on_batch(pixels, np.array([0, 1, 2]))
    assert any((weight.numpy() != value).any() for weight, value in zip(base.weights, before, strict=True))
    np.testing.assert_array_equal(raw(pixels), base(kd.preprocess_input(pixels)))


@pytest.mark.parametrize("frozen_by", ["base", "raw"])
def test_freezing_one_model_freezes_weights_and_statistics_of_the_other(frozen_by):
    models = {"base": network()}
    models["raw"] = models["base"].with_preprocessing("torch")
    kd.freeze(models[frozen_by], "block2")
    block, pixels = models["base"].get_layer("block2"), pixels_for(models["base"])
    before = block.get_weights()
    for model in models.values():
        assert not {weight.path for weight in block.weights} & {weight.path for weight in model.trainable_weights}
        model(pixels, training=True)
    for weight, value in zip(block.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)
    kd.freeze(models[frozen_by], None)
    models["base"](pixels, training=True)
    assert any((weight != value).any() for weight, value in zip(block.get_weights(), before, strict=True))


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_quantising_one_model_leaves_the_other():
    base = network()
    raw, pixels = base.with_preprocessing("torch"), pixels_for(base)
    expected = base(pixels)
    raw.quantize("int8")
    assert "int8" in {weight.dtype for weight in raw.weights}
    assert {weight.dtype for weight in base.weights} == {"float32"}
    np.testing.assert_array_equal(base(pixels), expected)
    np.testing.assert_allclose(raw(pixels), base(kd.preprocess_input(pixels)), atol=0.05)


def _augmented():
    """A DenseNet behind layers that train where nobody says anything."""
    image = keras.Input((12, 11, 3))
    x = keras.layers.Resizing(9, 8)(keras.layers.RandomFlip(seed=0)(image))
    return randomise(network(input_tensor=x, input_shape=None))


UNASKED = {
    "the network": lambda model: model,
    "feature_pyramid": kd.feature_pyramid,
    "fold": kd.fold,
    "reset_classifier": lambda model: model.reset_classifier(2),
    "with_preprocessing": lambda model: model.with_preprocessing("unit"),
    "a nested one": lambda model: flat(keras.Sequential([keras.Input((12, 11, 3)), model])),
}


@pytest.mark.parametrize("what", UNASKED)
def test_a_model_that_is_called_without_training_infers(what):
    base = _augmented()
    model, pixels = UNASKED[what](base), pixels_for(base)
    statistics = [weight.numpy() for weight in base.non_trainable_weights]
    found = keras.tree.flatten(model(pixels))
    for values, expected in zip(found, keras.tree.flatten(model(pixels, training=False)), strict=True):
        np.testing.assert_array_equal(values, expected)
    for weight, value in zip(base.non_trainable_weights, statistics, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
def test_a_model_that_is_told_to_train_trains_inside_another_too():
    model = _augmented()
    outer = keras.Sequential([model])
    outer.compile("sgd", "mse")
    pixels = pixels_for(model)
    for train in (lambda: model(pixels, training=True), lambda: outer.train_on_batch(pixels, np.ones((3, 5)))):
        before = model.get_layer("block1").feature_statistics[0].numpy()
        train()
        assert (model.get_layer("block1").feature_statistics[0].numpy() != before).any()


@pytest.mark.parametrize("around", ["preprocess_input", "tensor operations in front", "Normalization"])
def test_whatever_changes_pixels_in_front_of_the_network_is_preprocessing(around):
    model = flat(AROUND[around]())
    assert model.is_preprocessed
    with pytest.raises(
        ValueError, match=r"^The model already has preprocessing in front, its (layer|operation) '\w+'$"
    ):
        model.with_preprocessing("torch")


@pytest.mark.parametrize("around", ["nested", "RandomFlip and Resizing", "grey, of any size"])
def test_what_leaves_the_values_of_pixels_is_not(around):
    assert not flat(AROUND[around]()).is_preprocessed
