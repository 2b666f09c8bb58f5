"""Files that hold more than one network, or one inside of another model: each is found by name, none is guessed."""

import subprocess

import h5py
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from tests.oracle import randomise
from tests.tiny import network
from tests.weights import foreign

ENDINGS = [".weights.h5", ".keras", ".h5", ".safetensors", pytest.param(".pth", marks=foreign.needs_torch)]


NEST = """
import sys, numpy, torch
checkpoint = {"a": {}, "b": {}, "epoch": 3}  # as {"model": ..., "model_ema": ...}
for name, values in numpy.load(sys.argv[1]).items():
    checkpoint[name[0]][name[2:]] = torch.from_numpy(values)
torch.save(checkpoint, sys.argv[2])
"""


def pair(flat=True, **others):
    """Two networks called a and b; flat ones can be parts of one model."""
    prefixes = ("a_", "b_") if flat else ("", "")
    return [
        randomise(network(name=name, prefix=prefix, **others), seed)
        for seed, (name, prefix) in enumerate(zip("ab", prefixes, strict=True))
    ]


def same(one, other):
    return all(np.array_equal(x, y) for x, y in zip(one.get_weights(), other.get_weights(), strict=True))


def save_both(form, path):
    """Writes a file with a and b in it; returns them."""
    a, b = pair(form == "flat")
    if path.suffix in (".safetensors", ".pth"):
        tensors = {}
        for model in (a, b):
            kd.save_weights(model, path.with_name("one.safetensors"), "torchvision")
            one = load_file(path.with_name("one.safetensors"))
            tensors.update({f"{model.name}.{name}": values for name, values in one.items()})
        if path.suffix == ".pth":
            np.savez(path.with_name("both.npz"), **tensors)
            subprocess.run([foreign.TORCH, "-c", NEST, path.with_name("both.npz"), path], check=True, timeout=280)
        else:
            save_file(tensors, path)
        return a, b
    image = keras.Input(a.input_shape[1:])
    if form == "flat":
        both = keras.Model([a.input, b.input], keras.layers.Add()([a.output, b.output]))
    else:
        both = keras.Model(image, keras.layers.Add()([a(image), b(image)]))
    both.save_weights(path) if path.name.endswith(".weights.h5") else both.save(path)
    return a, b


@pytest.mark.slow
@pytest.mark.parametrize("form", ["inner models", "flat"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_two_networks_are_both_named_and_either_loads(form, ending, tmp_path):
    path = tmp_path / f"both{ending}"
    a, b = save_both(form, path)
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"holds 2 networks, 'a' and 'b': choose one of them as network") as error:
        kd.load_weights(model, path)
    foreign.one_sentence(error, path)
    with pytest.raises(ValueError, match=r"^network must be 'a' or 'b' in .* Received: network='c'$"):
        kd.load_weights(model, path, network="c")
    assert all(map(np.array_equal, model.get_weights(), before))
    for name, expected in (("a", a), ("b", b)):
        assert kd.load_weights(model, path, network=name) == []
        np.testing.assert_allclose(model(np.ones((1, 9, 8, 3))), expected(np.ones((1, 9, 8, 3))), rtol=1e-4)


def test_an_outer_network_is_told_from_an_inner_one(tmp_path):
    """Its names begin with nothing."""
    outer, inner = network(classes=5), randomise(network(name="inner"), 3)
    both = keras.Model(outer.input, keras.layers.Add()([outer.output, inner(outer.input)]))
    both.save_weights(tmp_path / "both.weights.h5")
    model = network()
    with pytest.raises(ValueError, match=r"2 networks, ('' and 'inner'|'inner' and ''): choose"):
        kd.load_weights(model, tmp_path / "both.weights.h5")
    for name, expected in (("", outer), ("inner", inner)):
        kd.load_weights(model, tmp_path / "both.weights.h5", network=name)
        assert same(model, expected)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras", ".h5", ".safetensors"])
def test_one_network_inside_a_model_needs_no_name_and_has_the_classifier_outside(ending, tmp_path):
    backbone = randomise(network(include_top=False, pooling="avg", name="backbone"))
    inputs = keras.Input(backbone.input_shape[1:])
    whole = keras.Model(inputs, keras.layers.Dense(5, "softmax", name="classifier")(backbone(inputs)))
    path = tmp_path / f"whole{ending}"
    if ending == ".safetensors":
        kd.save_weights(network(weights=_saved(whole, tmp_path / "a.weights.h5")), path, "torchvision")
        save_file({f"net.{name}" if "features" in name else name: v for name, v in load_file(path).items()}, path)
    else:
        _saved(whole, path)
    model = network(weights=path)
    np.testing.assert_allclose(model(np.ones((1, 9, 8, 3))), whole(np.ones((1, 9, 8, 3))), rtol=1e-4)


def _saved(model, path):
    model.save_weights(path) if path.name.endswith(".weights.h5") else model.save(path)
    return path


def test_networks_called_alike_go_by_their_places(tmp_path):
    class Two(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = (randomise(network(name="net"), seed) for seed in (1, 2))

        def call(self, inputs):
            return self.first(inputs) + self.second(inputs)

    two = Two()
    two(np.ones((1, 9, 8, 3)))
    two.save_weights(tmp_path / "two.weights.h5")
    model = network()
    with pytest.raises(ValueError, match=r"2 networks, 'first' and '.+'") as error:
        kd.load_weights(model, tmp_path / "two.weights.h5")
    kd.load_weights(model, tmp_path / "two.weights.h5", network="first")
    assert same(model, two.first)
    kd.load_weights(model, tmp_path / "two.weights.h5", network=str(error.value).split("'")[-2])
    assert same(model, two.second)


def test_two_tensors_of_one_name_are_never_chosen_between(tmp_path):
    path = tmp_path / "twice.weights.h5"
    network().save_weights(path)
    with h5py.File(path, "r+") as file:
        file["layers/dense_block_1/vars"].attrs["name"] = "block1"
    with pytest.raises(ValueError, match=r"dense_block/.* and .*dense_block_1/.* are both block1/") as error:
        network(weights=path)
    foreign.one_sentence(error, path)


def test_two_files_of_a_preset_with_one_name_are_refused(tmp_path):
    for name in ("model", "task"):
        network().save_weights(tmp_path / f"{name}.weights.h5")
    with pytest.raises(ValueError, match="more than one of its files holds "):
        network(weights=tmp_path)


def test_each_of_two_networks_in_one_flat_model_is_saved_and_loaded_alone(tmp_path):
    a, b = pair(input_tensor=keras.Input((9, 8, 3)), input_shape=None)
    both = keras.Model(a.input, keras.layers.Add()([a.output, b.output]))
    kd.save_weights(b, tmp_path / "b.weights.h5")
    kd.save_weights(b, tmp_path / "b.safetensors", "torchvision")
    for file in ("b.weights.h5", "b.safetensors"):
        assert same(network(weights=tmp_path / file), b)
    before = b.get_weights()
    kd.load_weights(a, tmp_path / "b.weights.h5")
    assert same(a, b)
    assert all(map(np.array_equal, b.get_weights(), before))
    both.save(tmp_path / "both.keras")
    again = keras.models.load_model(tmp_path / "both.keras")
    part = kd.DenseNetModel(again.input, again.get_layer("b_classifier").output)
    assert same(part, b)
    assert part.architecture == network().architecture


@pytest.mark.slow
def test_the_command_takes_the_name(tmp_path):
    a, b = (randomise(kd.create_model("densenet-bc-40-12", name=name), seed) for seed, name in enumerate("ab"))
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Add()([a(image), b(image)])).save_weights(tmp_path / "both.weights.h5")
    command = ["convert", str(tmp_path / "both.weights.h5"), "--model", "densenet-bc-40-12"]
    command += ["--out", str(tmp_path / "b.weights.h5")]
    assert "holds 2 networks" in str(CliRunner().invoke(app, command).exception)
    result = CliRunner().invoke(app, [*command, "--network", "b"])
    assert result.exit_code == 0, result.output
    assert same(kd.create_model("densenet-bc-40-12", weights=tmp_path / "b.weights.h5"), b)
