"""Full-size networks with random weights, whose statistics differ in every reader: equal outputs, both ways."""

import keras
import numpy as np
import pytest

import keras_densenet as kd
from tests.weights import foreign

pytestmark = pytest.mark.slow

NETWORKS = ["densenet121", "densenet161", "densenet169", "densenet201"]


def assert_equal(found, expected, what):
    """Asserts equality to 1e-4 absolute, for logits of a sensible size."""
    found, expected = np.asarray(found), np.asarray(expected)
    error, deviation = np.abs(found - expected).max(), expected.std()
    print(f"{what}: largest difference {error:.1e}, deviation of the logits {deviation:.2f}")
    assert 0.1 < deviation < 100
    assert error < 1e-4


def ours(name):
    return kd.create_model(name, input_shape=(None, None, 3), classifier_activation=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    foreign.run_torch("make", folder, *NETWORKS)
    return folder


@foreign.needs_torch
@pytest.mark.timeout(900)
def test_torchvision_both_ways(folder):
    for name in NETWORKS:
        model = ours(name)
        kd.load_weights(model, folder / f"{name}.safetensors")
        with np.load(folder / f"{name}.npz") as there:
            for height in (224, 197):
                assert_equal(model(there[f"images{height}"]), there[f"logits{height}"], f"{name} at height {height}")
        kd.save_weights(model, folder / f"{name}.back.safetensors", "torchvision")
    foreign.run_torch("check", folder, *NETWORKS)
    for name in NETWORKS:
        with np.load(folder / f"{name}.npz") as there, np.load(folder / f"{name}.back.npz") as back:
            for logits in ("logits224", "logits197"):
                assert_equal(back[logits], there[logits], f"{name} and back, {logits}")


def applications(name):
    """The network of keras.applications with random weights; every reader's statistics are near the truth."""
    build = getattr(keras.applications, name.replace("densenet", "DenseNet"))
    base = build(include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3))
    model = keras.Model(base.input, keras.layers.Dense(1000, name="predictions")(base.output))
    rng = np.random.default_rng(0)

    def measured(norm):
        def call(x, **options):
            mean, variance = x.numpy().mean((0, 1, 2)), x.numpy().var((0, 1, 2))
            norm.moving_mean.assign(mean + 0.1 * np.sqrt(variance) * rng.normal(size=mean.shape))
            norm.moving_variance.assign(variance * rng.uniform(0.5, 1.5, variance.shape))
            return type(norm).call(norm, x)

        return call

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.gamma.assign(rng.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(rng.normal(0, 0.2, norm.beta.shape))
        norm.call = measured(norm)
    model(rng.normal(size=(2, 128, 128, 3)).astype("float32"))
    for norm in norms:
        del norm.call
    return model


@pytest.mark.parametrize("name", ["densenet121", *(pytest.param(n, marks=foreign.needs_torch) for n in NETWORKS[2:])])
def test_keras_applications_both_ways(name, tmp_path):
    """The larger two run where the rest of the full-size tests does."""
    theirs, model = applications(name), ours(name)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    kd.load_weights(model, tmp_path / "theirs.weights.h5")
    images = [foreign.images(shape) for shape in ((1, 224, 224, 3), (1, 197, 259, 3))]
    logits = [theirs(x) for x in images]
    for x, expected in zip(images, logits, strict=True):
        assert_equal(model(x), expected, f"{name} at {x.shape[1:3]}")
    kd.save_weights(model, tmp_path / "back.h5", "keras")
    theirs.set_weights([np.zeros(v.shape) for v in theirs.weights])
    theirs.load_weights(tmp_path / "back.h5")
    for x, expected in zip(images, logits, strict=True):
        assert_equal(theirs(x), expected, f"{name} and back at {x.shape[1:3]}")
