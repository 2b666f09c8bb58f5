"""Keras' dtype policies: what computes in 16 bits, what stays wide, and that all that a network can do goes on."""

import keras
import numpy as np
import pytest

import keras_densenet as kd
from keras_densenet import explain
from keras_densenet.layers import DenseBlock
from tests.oracle import images_like
from tests.tiny import network

IMAGES, LABELS = images_like((4, 19, 16, 3), "float32"), np.arange(4)
MAP = {"block1": keras.DTypePolicy("bfloat16"), "transition1": keras.DTypePolicy("mixed_float16")}


def make(policy, **options):
    if policy == "map":
        policy = keras.dtype_policies.DTypePolicyMap("float32", dict(MAP))
    return network(stem="imagenet", blocks=(1, 1), dtype=policy, **options)


def dtypes(model):
    return {layer.name: (layer.compute_dtype, layer.variable_dtype) for layer in model.layers if layer.weights}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "xla"), [("float16", True), ("bfloat16", False), ("mixed_float16", False), ("map", False)]
)
def test_a_network_learns_and_comes_back_in_the_policy_of_its_argument(tmp_path, policy, xla):
    model = make(policy)
    before = dtypes(model)
    assert before["classifier"] == ("float32", "float32")
    if policy == "map":
        assert before["block1"] == ("bfloat16", "bfloat16")
        assert before["transition1"] == ("float16", "float32")
        assert before["block2"] == ("float32", "float32")
    else:
        compute = policy.removeprefix("mixed_")
        assert before["block1"] == before["stem"] == (compute, "float32" if "mixed" in policy else compute)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=xla)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy in ("mixed_float16", "map"))
    losses = model.fit(IMAGES, LABELS, batch_size=4, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert dtypes(again) == before
    assert again.dtype_policy == model.dtype_policy
    probabilities = model.predict(IMAGES, verbose=0)
    assert probabilities.dtype == "float32"
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), probabilities)


@pytest.mark.parametrize("policy", ["float16", "map"])
def test_what_is_made_of_a_network_keeps_its_policy(policy):
    model = make(policy)
    probabilities = model(IMAGES)
    folded = kd.fold(model)
    np.testing.assert_allclose(folded(IMAGES), probabilities, atol=0.01)
    for name, (compute, _) in dtypes(model).items():
        assert folded.get_layer(name).compute_dtype == compute
    assert folded.get_layer("block1").h[0][0].dtype == "float32"  # a reader's scale
    new = model.reset_classifier(3)
    assert new(IMAGES).dtype == new.layers[-1].variable_dtype == "float32"
    model.preprocessing = "unit"
    pixels = model.with_preprocessing()(np.clip(IMAGES, 0, 1) * 255)
    np.testing.assert_allclose(pixels, model(np.clip(IMAGES, 0, 1)), atol=0.01)
    assert {level.dtype.name for level in kd.feature_pyramid(model)(IMAGES).values()} >= {
        "float32" if policy == "map" else "float16"
    }
    maps = explain.grad_cam(model, IMAGES)
    assert np.isfinite(maps.maps if hasattr(maps, "maps") else maps[0]).all()


def test_the_classifier_follows_the_head_and_not_the_global_policy():
    model = network(dtype="float64")
    assert model.reset_classifier(3).output.dtype == "float64"
    keras.config.set_dtype_policy("float64")
    assert network(dtype="float32").reset_classifier(3).output.dtype == "float32"


def test_a_map_that_names_the_classifier_is_obeyed():
    policies = keras.dtype_policies.DTypePolicyMap("bfloat16", {"classifier": keras.DTypePolicy("bfloat16")})
    assert network(dtype=policies).output.dtype == "bfloat16"


@pytest.mark.slow
def test_floatx_and_the_global_policy_are_the_default():
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    model = network()
    assert model.inputs[0].dtype == model.get_layer("block1").compute_dtype == "float16"
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    assert np.isfinite(model.train_on_batch(images_like((4, 9, 8, 3), "float16"), LABELS))


@pytest.mark.parametrize("dtype", ["int8", "int8_from_float32", "float8_from_float32", "float8", "int32"])
def test_policies_of_8_bits_and_of_integers_are_refused_in_a_sentence(dtype):
    with pytest.raises(ValueError, match=rf"dtype must be one of float16, .*; for 8 bits, .* Received: '{dtype}'"):
        network(dtype=dtype)


def test_layers_refuse_them_too():
    with pytest.raises(
        ValueError, match=r"Layer 'block' computes in floats: dtype must be one of .* 'int8_from_float32'"
    ):
        DenseBlock(1, 2, name="block", dtype="int8_from_float32")(np.zeros((1, 4, 4, 3), "float32"))
