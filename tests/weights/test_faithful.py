"""What cannot be written or read so that it is the same network is refused in one sentence."""

import warnings

import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.oracle import images_like, randomise
from tests.tiny import network

FOREIGN = [("torchvision", ".safetensors"), ("keras", ".h5"), ("keras", ".weights.h5")]
EVERY = [("keras_densenet", ".weights.h5"), *FOREIGN]
IMAGES = images_like((2, 9, 8, 3), "float32")


def quantised(mode):
    model = randomise(network(classes=6))  # int4 packs two in a byte
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Layer .* does not have a `quantize` method")
        model.quantize(mode)
    return model


def with_lora():
    model = randomise(network())
    classifier = model.layers[-1]
    classifier.enable_lora(2)
    classifier.lora_kernel_b.assign(np.random.default_rng(0).normal(size=classifier.lora_kernel_b.shape))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "ending"), FOREIGN)
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantised_weights_are_not_written_for_other_frameworks(mode, layout, ending, tmp_path):
    with pytest.raises(ValueError, match=rf"save them before quantize\. Received: layer 'classifier' in {mode}$"):
        kd.save_weights(quantised(mode), tmp_path / f"a{ending}", layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_floats_are_not_loaded_into_a_quantised_network(mode, tmp_path):
    kd.save_weights(network(classes=6), tmp_path / "a.weights.h5")
    model = quantised(mode)
    before = model.get_weights()
    with pytest.raises(
        ValueError, match=r"^Load weights before quantize or enable_lora\. Received: layer 'classifier'"
    ):
        kd.load_weights(model, tmp_path / "a.weights.h5")
    assert all(map(np.array_equal, model.get_weights(), before))


@pytest.mark.slow
def test_quantised_weights_come_back_into_a_quantised_network_and_are_refused_by_another(tmp_path):
    model, other = quantised("int8"), quantised("int8")
    kd.save_weights(model, tmp_path / "a.weights.h5")
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other(IMAGES), model(IMAGES))
    with pytest.raises(ValueError, match=r"must hold floating-point numbers, not quantised ones\. Received: int8$"):
        network(classes=6, weights=tmp_path / "a.weights.h5")


@pytest.mark.parametrize(("layout", "ending"), EVERY)
def test_an_adapter_becomes_part_of_the_kernel(layout, ending, tmp_path):
    model = with_lora()
    kd.save_weights(model, tmp_path / f"a{ending}", layout)
    np.testing.assert_allclose(network(weights=tmp_path / f"a{ending}")(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-6)


def test_weights_are_not_loaded_beneath_an_adapter(tmp_path):
    kd.save_weights(network(), tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match=r"enable_lora\. Received: layer 'classifier' with LoRA$"):
        kd.load_weights(with_lora(), tmp_path / "a.weights.h5")


@pytest.mark.parametrize(("layout", "ending"), EVERY)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_not_written(layout, ending, value, tmp_path):
    model = network()
    gamma = model.stages["head"].norm.gamma
    gamma.assign(np.full(gamma.shape, value))
    with pytest.raises(ValueError, match=r"^Weights must be finite numbers.* Received: head/norm_gamma$"):
        kd.save_weights(model, tmp_path / f"a{ending}", layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("float64")
def test_numbers_too_large_for_float32_are_not_written(tmp_path):
    model = network()
    model.stages["classifier"].bias.assign(np.full(5, 1e300))
    with pytest.raises(
        ValueError, match=r"^Weights must be finite numbers, in float32 too\. Received: classifier\.bias$"
    ):
        kd.save_weights(model, tmp_path / "a.safetensors", "torchvision")


def _two_dense_layers(model):
    hidden = keras.layers.Dense(8, "relu", name="hidden")(model.layers[-2].output)
    return kd.DenseNetModel(model.input, keras.layers.Dense(5, name="last")(hidden))


def _an_activation_behind(model):
    return kd.DenseNetModel(model.input, keras.layers.Softmax()(model.output))


def _a_normalisation_in_front(model):
    normalise = keras.layers.Normalization(name="normalise")
    normalise.adapt(IMAGES)
    return network(input_tensor=normalise(keras.Input((9, 8, 3))), input_shape=None)


def _no_bias(model):
    return kd.DenseNetModel(model.input, keras.layers.Dense(5, use_bias=False)(model.layers[-2].output))


@pytest.mark.parametrize(("layout", "ending"), FOREIGN)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_two_dense_layers, r"up to one Dense layer as its classifier\. Received: .* with hidden/kernel, hidden/bias$"),
        (_an_activation_behind, r"up to one Dense layer .* with classifier/kernel, classifier/bias$"),
        (
            _a_normalisation_in_front,
            r"places for a DenseNet alone, .* with normalise/mean, normalise/variance, normalise/count$",
        ),
        (_no_bias, r"must have all weights of a DenseNet\. Received: .* without classifier/bias$"),
    ],
)
def test_what_a_layout_has_no_place_for_is_named(make, sentence, layout, ending, tmp_path):
    model = make(network())
    with pytest.raises(ValueError, match=sentence):
        kd.save_weights(model, tmp_path / f"a{ending}", layout)
    assert not list(tmp_path.iterdir())


def test_layers_of_different_epsilons_are_not_written_as_if_they_had_one(tmp_path):
    model = network()
    model.stages["block1"].epsilon = 1e-3
    with pytest.raises(ValueError, match=r"one epsilon for all layers\. Received: \[1e-05, 0\.001\]$"):
        kd.save_weights(model, tmp_path / "a.safetensors", "torchvision")
