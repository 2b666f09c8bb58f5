"""The feature-reuse map: every entry is the mean |weight| of one reader for one source."""

import itertools

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image

import keras_densenet as kd
from keras_densenet import explain
from tests.oracle import randomise
from tests.tiny import KINDS, STEMS, network

EXPECTED = {"block1": ("layer1", "layer2", "transition1"), "block2": ("layer1", "classifier")}


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_is_the_mean_absolute_weight_of_a_reader_for_a_source(kind, stem):
    model = network(kind, stem)
    k, kernels = 3, {}
    for layer in model.layers:
        kernels |= {f"{layer.name}/{w.name}": w.numpy() for w in layer.weights if w.name.endswith("kernel")}
    for block in kd.feature_reuse(model):
        assert block.readers == EXPECTED[block.name]
        first = model.get_layer(block.name).input.shape[-1]
        for reader, row in zip(block.readers, block.weights, strict=True):
            name = {"transition1": "transition1/conv_kernel", "classifier": "classifier/kernel"}.get(reader)
            kernel = kernels[name or f"{block.name}/{reader}_conv1_kernel"]
            edges = [0, *range(first, kernel.shape[-2] + 1, k)]
            expected = [np.abs(kernel[..., a:b, :]).mean() for a, b in itertools.pairwise(edges)]
            np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-6)
            assert np.isnan(row[len(expected) :]).all()
        np.testing.assert_allclose(np.nanmax(block.relative, 1), 1)


def test_scaled_weights_have_the_gamma_of_their_reader():
    model = randomise(network())
    (block, _), (plain, _) = kd.feature_reuse(model, scaled=True), kd.feature_reuse(model)
    gamma, _, kernel, *_ = model.get_layer("block1").h[1]
    expected = np.abs(gamma.numpy()[:, None] * kernel.numpy()[0, 0])
    np.testing.assert_allclose(block.weights[1, :2], [expected[:6].mean(), expected[6:].mean()], rtol=1e-6)
    assert not np.allclose(block.weights[1, :2], plain.weights[1, :2])


def test_a_network_without_classifier_has_no_row_for_it():
    *_, block = kd.feature_reuse(network(include_top=False))
    assert (block.readers, block.sources, block.reader) == (("layer1",), ("input",), None)
    assert explain.observations([block])[0]["reader"] is None


def test_the_densenet_is_found_behind_preprocessing_and_inside_of_other_models():
    model = network(include_top=False)
    expected = kd.feature_reuse(model)[0].weights
    around = keras.Sequential(
        [keras.Input((9, 8, 3)), model, keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(4, name="mine")]
    )
    for other in (model.with_preprocessing("unit"), around):
        np.testing.assert_array_equal(kd.feature_reuse(other)[0].weights, expected)
    assert kd.feature_reuse(around)[1].readers == ("layer1", "mine")


def test_folded_and_foreign_models_are_refused():
    with pytest.raises(ValueError, match=r"before keras_densenet\.fold"):
        kd.feature_reuse(kd.fold(network()))
    foreign = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)], name="foreign")
    with pytest.raises(ValueError, match=r"with a dense block of keras_densenet in it\. Received: 'foreign'"):
        kd.feature_reuse(foreign)


def test_observations_are_those_of_the_paper():
    nan, names = np.nan, ("input", "layer1", "layer2")
    weights = np.array([[5.0, nan, nan], [1, 3, nan], [1, 1, 4]])
    (found,) = explain.observations([explain.BlockReuse("b", weights, ("layer1", "layer2", "t"), names, "t")])
    assert (found["input_least"], found["input_chance"]) == (1, 0.5)
    assert found["input_weight"] == pytest.approx(1 / 3)
    assert found["spread"] == pytest.approx(0.25**-0.25 * 0.75**-0.75 / 2)
    assert found["reader_late"] == 4
    even = explain.BlockReuse("b", np.where(np.isnan(weights), nan, 2), ("layer1", "layer2", "t"), names, "t")
    assert explain.observations([even])[0]["spread"] == pytest.approx(1)
    assert explain.observations([even])[0]["reader_spread"] == pytest.approx(1)


def test_the_colours_of_the_map_reach_from_the_smallest_weight_to_the_largest(tmp_path):
    weights = np.array([[9.0, 10, np.nan], [9, 10, 8]])
    block = explain.BlockReuse("b", weights, ("layer1", "t"), ("input", "layer1", "layer2"), "t")
    explain.draw_reuse([block], tmp_path / "map.png", "under $5_$")
    with Image.open(tmp_path / "map.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for end in (0.0, 1.0):  # a cell has 2,000 pixels, the colour bar few of one colour
        colour = matplotlib.colormaps["viridis"](end, bytes=True)[:3]
        assert (pixels == colour).all(1).sum() > 1000


def test_the_map_is_drawn_with_a_column_for_each_reader(tmp_path):
    blocks = kd.feature_reuse(network())
    explain.draw_reuse(blocks, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 20
    explain.draw_reuse(blocks, tmp_path / "map.svg")
    assert "transition1" in (tmp_path / "map.svg").read_text()
    with pytest.raises(ValueError, match=r"must end in \.png, \.svg or \.pdf. Received: .*map\.xyz"):
        explain.draw_reuse(blocks, tmp_path / "map.xyz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "map.svg"]
