"""Weights for images in networks for volumes and signals, and the other ways: what holds, and exactly where."""

import dataclasses
import functools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

import keras_densenet as kd
from keras_densenet.cli import app
from keras_densenet.weights import fitting
from tests.oracle import randomise
from tests.weights import foreign
from tests.weights.test_monai import file, ours, stored

SIDE, OTHERS = 64, (16, 12)


def exact(size):
    """The places along an axis of the features of `ours` that no zero beyond the ends of an input reaches."""
    inside = np.ones(size, bool)

    def convolve(inside, reach, stride=1):
        padded = np.pad(inside, reach)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
        return windows.all(1)[::stride]

    inside = convolve(inside, 3, 2)
    inside = np.pad(inside, 1, constant_values=True)  # a maximum that is beyond the ends is none
    inside = np.lib.stride_tricks.sliding_window_view(inside, 3).all(1)[::2]
    inside = convolve(convolve(inside, 1), 1)
    inside = inside[: len(inside) // 2 * 2].reshape(-1, 2).all(1)
    return convolve(inside, 1)


shared = functools.cache(ours)  # for tests that put it to use at once


def headless(dimensions, **others):
    return ours(dimensions, include_top=False, **others)


def assert_exact_inside(found, expected):
    """Asserts that `found` has copies of `expected` along its first axis where no zero reaches, and not at its ends."""
    error = np.abs(np.asarray(found) - np.asarray(expected)).reshape(len(found), -1).max(1)
    inside = exact(SIDE)
    assert inside.sum() == 2
    assert error[inside].max() < 1e-5  # a third and a seventh are rounded
    assert error[[0, -1]].min() > 1e-4


@pytest.mark.parametrize("depth", [8, 19])
def test_with_kernels_in_the_centre_a_volume_of_equal_slices_gives_what_the_slice_gave(depth):
    images, volumes = ours(2, weights=file(2)), shared(3)
    assert kd.load_weights(volumes, file(2), inflate="centre") == []
    image = foreign.images((2, *OTHERS, 1))
    np.testing.assert_allclose(volumes(np.repeat(image[:, None], depth, axis=1)), images(image), rtol=0, atol=1e-6)


def test_with_kernels_repeated_it_does_so_away_from_its_ends():
    images, volumes = headless(2, weights=file(2)), headless(3)
    assert kd.load_weights(volumes, file(2), inflate="repeat") == []
    image = foreign.images((1, *OTHERS, 1))
    volume = np.repeat(image[:, None], SIDE, axis=1)
    assert_exact_inside(volumes(volume)[0], images(image))


def test_a_signal_gives_what_an_image_gave_that_has_it_in_every_row():
    images, signals = headless(2, weights=file(2)), headless(1)
    assert kd.load_weights(signals, file(2), inflate="repeat") == []
    signal = foreign.images((1, 40, 1))
    image = np.repeat(signal[:, None], SIDE, axis=1)
    assert_exact_inside(images(image)[0], signals(signal))


@pytest.mark.parametrize("inflate", ["centre", "repeat"])
@given(rank=st.integers(3, 5), other=st.integers(3, 5), size=st.sampled_from([1, 3, 7]), seed=st.integers(0, 99))
def test_kernels_keep_their_sum_and_come_back_from_more_dimensions(inflate, rank, other, size, seed):
    kernel = np.random.default_rng(seed).normal(size=(*[size] * (rank - 2), 2, 3))
    made = fitting.inflated(kernel, other, inflate)
    assert made.shape == (*[size] * (other - 2), 2, 3) == fitting.shape_in(other - 2, kernel.shape)
    axes = [tuple(range(array.ndim - 2)) for array in (made, kernel)]
    np.testing.assert_allclose(made.sum(axes[0]), kernel.sum(axes[1]), rtol=1e-12, atol=1e-12)
    if other >= rank:
        np.testing.assert_allclose(fitting.inflated(made, rank, None), kernel, rtol=1e-12)


def test_another_word_is_refused():
    with pytest.raises(ValueError, match=r'^inflate must be None, "repeat" or "centre"\. Received: inflate=True$'):
        kd.load_weights(shared(2), file(2), inflate=True)


@pytest.mark.parametrize(("given", "dimensions"), [(2, 3), (2, 1), (3, 2), (1, 3)])
def test_nothing_is_inflated_that_nobody_asked_for(given, dimensions):
    model = shared(dimensions)
    before = model.get_weights()
    kinds = ["signals", "images", "volumes"]
    sentence = (
        rf"is for {kinds[given - 1]}, and this network for {kinds[dimensions - 1]}: inflate=\"centre\" or \"repeat\" "
        "of load_weights makes kernels for these$"
    )
    for options in ({}, {"skip_mismatch": True, "adapt_channels": True}):
        with pytest.raises(ValueError, match=sentence) as error:
            kd.load_weights(model, file(given), **options)
        foreign.one_sentence(error, file(given))
    assert all(map(np.array_equal, model.get_weights(), before))
    assert kd.load_weights(model, file(given), inflate="repeat") == []


def test_published_weights_are_told_apart_before_they_are_fetched_and_leave_preprocessing_to_volumes(monkeypatch):
    row = dataclasses.replace(kd.weights_info("torchvision:densenet121"), classes=3, channels=1)
    monkeypatch.setattr("keras_densenet.weights.files.catalogue.find", lambda *_: row)
    monkeypatch.setattr("keras_densenet.weights.files.fetch", None)
    volumes = shared(3)
    before = volumes.preprocessing, volumes.framing
    sentence = r"^'torchvision:densenet121' is for images, and this network for volumes: inflate="
    with pytest.raises(ValueError, match=sentence):
        kd.load_weights(volumes, "torchvision")
    monkeypatch.setattr("keras_densenet.weights.files.fetch", lambda _: file(2))
    assert kd.load_weights(volumes, "torchvision", inflate="centre") == []
    assert (volumes.preprocessing, volumes.framing) == before
    images = shared(2)
    kd.load_weights(images, "torchvision")
    assert (images.preprocessing, images.framing.crop_pct) == ("torch", row.crop_pct)


@pytest.mark.parametrize(("layout", "ending"), [("keras_densenet", ".weights.h5"), ("keras", ".h5"), ("monai", ".pt")])
def test_every_layout_of_images_makes_the_same_volumes_with_fewer_channels_and_other_classes(layout, ending, tmp_path):
    images = randomise(ours(2, input_shape=(None, None, 3)))
    kd.save_weights(images, tmp_path / f"a{ending}", layout)
    volumes, fewer = ours(3, input_shape=(16, 16, 16, 3)), ours(3, input_shape=(16, 16, 16, 1), classes=4)
    assert kd.load_weights(volumes, tmp_path / f"a{ending}", inflate="repeat") == []
    kernel = images.stages["stem"].get_weights()[0]
    np.testing.assert_allclose(volumes.stages["stem"].get_weights()[0], np.stack([kernel / 7] * 7), rtol=1e-6)
    left = kd.load_weights(fewer, tmp_path / f"a{ending}", inflate="repeat", skip_mismatch=True)
    assert left == ["classifier/kernel", "classifier/bias"]
    summed = np.stack([kernel.sum(2, keepdims=True) / 7] * 7)
    np.testing.assert_allclose(fewer.stages["stem"].get_weights()[0], summed, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("inflate", [None, "centre"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.denseblock1.denselayer2.layers.conv2.weight", (2, 8, 3, 3, 3)),
        ("features.transition1.conv.weight", (4, 8)),
        ("features.conv0.weight", (4, 1, 7, 7, 7, 7)),
        ("features.conv0.weight", (4,)),
        ("features.conv0.weight", ()),
    ],
)
def test_a_file_whose_kernels_are_of_several_kinds_is_refused(name, shape, inflate, tmp_path):
    path = tmp_path / "bad.safetensors"
    save_file({**stored(2), name: np.ones(shape, "float32")}, path)
    model = shared(2)
    before = model.get_weights()
    with pytest.raises(ValueError, match=rf"needs {name} of shape .*Received: {re.escape(str(shape))}") as error:
        kd.load_weights(model, path, inflate=inflate)
    foreign.one_sentence(error, path)
    assert all(map(np.array_equal, model.get_weights(), before))


@pytest.mark.parametrize("dimensions", [1, 3])
def test_the_command_makes_weights_for_another_number_of_dimensions(dimensions, tmp_path):
    out = tmp_path / "a.safetensors"
    command = ["convert", str(file(2)), "--out", str(out), "--layout", "monai", "--dimensions", str(dimensions)]
    result = CliRunner().invoke(app, [*command, "--inflate", "repeat"])
    assert result.exit_code == 0, result.exception
    made, there = load_file(out), stored(dimensions)
    assert {name: array.shape for name, array in made.items()} == {name: a.shape for name, a in there.items()}
    kernel, name = load_file(file(2))["features.conv0.weight"], "features.conv0.weight"
    made_here = made[name].sum(2) if dimensions == 3 else made[name]
    np.testing.assert_allclose(made_here, kernel if dimensions == 3 else kernel.sum(2), rtol=1e-5, atol=1e-6)
