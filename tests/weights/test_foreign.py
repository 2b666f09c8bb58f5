"""Weights of other frameworks give the outputs they gave there, and ours go back."""

import re

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import keras_densenet as kd
from keras_densenet.weights import layouts
from tests import tiny
from tests.oracle import randomise
from tests.weights import foreign


@pytest.fixture(scope="module")
def applications():
    return randomise(foreign.applications())


@pytest.fixture(scope="module")
def hub():
    backbone, classifier = foreign.hub()
    return randomise(backbone), classifier


@pytest.fixture
def model():
    return foreign.ours()


@pytest.mark.parametrize(
    ("name", "network"),
    [("tiny_torchvision", {}), ("tiny_timm", {}), ("tiny_timm_blur_d", {"stem": "deep", "stem_pool": "blur"})],
)
def test_torch_fixtures_give_their_outputs(name, network):
    model = foreign.ours(**network)
    images, logits = foreign.fixture(name)
    assert kd.load_weights(model, foreign.FIXTURES / f"{name}.safetensors") == []
    np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-5)


def test_old_torchvision_names_and_those_of_data_parallel_are_understood(model, tmp_path):
    tensors = load_file(foreign.FIXTURES / "tiny_torchvision.safetensors")
    old = {re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", f"module.{name}"): values for name, values in tensors.items()}
    assert "module.features.denseblock1.denselayer1.norm.1.weight" in old
    save_file(old, tmp_path / "old.safetensors")
    kd.load_weights(model, tmp_path / "old.safetensors")
    images, logits = foreign.fixture("tiny_torchvision")
    np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-5)


def test_pth_gives_what_safetensors_gives_and_goes_back(model, tmp_path):
    kd.load_weights(model, foreign.FIXTURES / "tiny_torchvision.pth")
    images, logits = foreign.fixture("tiny_torchvision")
    np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-5)
    kd.save_weights(model, tmp_path / "back.pth", "torchvision")
    again = foreign.ours(weights=tmp_path / "back.pth")
    assert foreign.difference(again, model, images) == 0


@pytest.mark.parametrize("ending", [".h5", ".weights.h5"])
def test_keras_applications_both_ways(model, applications, tmp_path, ending):
    path, images = tmp_path / f"theirs{ending}", foreign.images()
    foreign.save_legacy(applications, path) if ending == ".h5" else applications.save_weights(path)
    kd.load_weights(model, path)
    assert foreign.difference(model, applications, images) < 1e-5
    kd.save_weights(model, tmp_path / f"back{ending}", "keras")
    back = foreign.applications()
    back.load_weights(tmp_path / f"back{ending}")
    assert foreign.difference(back, applications, images) < 1e-5


def test_whole_legacy_model_with_an_optimizer_is_understood(model, applications, tmp_path):
    applications.compile("sgd", "mse")
    applications.save(tmp_path / "model.h5")
    kd.load_weights(model, tmp_path / "model.h5")
    assert foreign.difference(model, applications, foreign.images()) < 1e-5


def test_layer_names_of_the_published_keras_files_are_understood(model, applications, tmp_path):
    old = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
    with h5py.File(tmp_path / "published.h5", "w") as file:
        named = [(old.get(layer.name, layer.name), layer) for layer in applications.layers if layer.weights]
        file.attrs["layer_names"] = np.array([name for name, _ in named], "S")
        for name, layer in named:
            for variable in layer.weights:
                file[f"{name}/{name}_1/{variable.name}:0"] = variable.numpy()
    kd.load_weights(model, tmp_path / "published.h5")
    assert foreign.difference(model, applications, foreign.images()) < 1e-5


def test_keras_hub_preset_gives_its_outputs_where_same_padding_is_symmetric(model, hub, tmp_path):
    foreign.save_preset(*hub, tmp_path / "preset")
    kd.load_weights(model, tmp_path / "preset")
    assert foreign.difference(model, hub[1], foreign.images((2, 41, 33, 3))) < 1e-5


def test_keras_hub_backbone_alone_fits_a_headless_network(hub, tmp_path):
    hub[0].save_weights(tmp_path / "backbone.weights.h5")
    headless = foreign.ours(include_top=False, weights=tmp_path / "backbone.weights.h5")
    assert foreign.difference(headless, hub[0], foreign.images()) < 1e-5


def test_headless_network_leaves_a_foreign_classifier_alone(applications, tmp_path):
    applications.save_weights(tmp_path / "a.weights.h5")
    headless = foreign.ours(include_top=False, pooling="avg", weights=tmp_path / "a.weights.h5")
    expected = keras.Model(applications.input, applications.layers[-2].output)
    assert foreign.difference(headless, expected, foreign.images()) < 1e-5


def test_one_channel_network_sums_the_kernel_and_gives_what_grey_rgb_gave(model):
    path = foreign.FIXTURES / "tiny_timm.safetensors"
    kd.load_weights(model, path)
    grey = foreign.ours(input_shape=(None, None, 1))
    assert kd.load_weights(grey, path, skip_mismatch=True) == []
    images = foreign.images((2, 40, 33, 1))
    np.testing.assert_allclose(grey(images), model(images.repeat(3, -1)), rtol=0, atol=1e-5)


def test_other_classes_are_refused_or_named_as_left_out():
    path = foreign.FIXTURES / "tiny_timm.safetensors"
    other = foreign.ours(classes=7)
    with pytest.raises(ValueError, match=r"^classes must be 5 .*reset_classifier\. Received: classes=7$"):
        kd.load_weights(other, path)
    before = {variable.path: variable.numpy() for variable in other.weights}
    assert kd.load_weights(other, path, skip_mismatch=True) == ["classifier/kernel", "classifier/bias"]
    changed = {v.path for v in other.weights if not np.array_equal(v, before[v.path])}
    assert not {path for path in changed if path.startswith("classifier")}
    assert {"stem/conv_kernel", "block2/layer1_conv2_kernel", "head/norm_moving_mean"} <= changed


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 12])
def test_a_stem_serves_other_numbers_of_channels_when_asked_to(model, channels):
    """As timm's: an image whose channels are equal gives what it gave as RGB."""
    path = foreign.FIXTURES / "tiny_timm.safetensors"
    kd.load_weights(model, path)
    other = foreign.ours(input_shape=(None, None, channels))
    if channels > 1:
        needed = r"needs features\.conv0\.weight .*; adapt_channels=True of load_weights makes its 3 channels"
        for options in ({}, {"skip_mismatch": True}):  # never left random in silence
            with pytest.raises(ValueError, match=f"{needed} {channels}$"):
                kd.load_weights(other, path, **options)
    assert kd.load_weights(other, path, adapt_channels=True) == []
    theirs, ours = (network.stages["stem"].get_weights()[0] for network in (model, other))
    for channel in range(channels if channels > 1 else 0):
        np.testing.assert_allclose(ours[:, :, channel], theirs[:, :, channel % 3] * 3 / channels, rtol=1e-6)
    if channels % 3 == 0 or channels == 1:  # each of the three as often as the others
        grey = foreign.images((2, 40, 33, 1))
        np.testing.assert_allclose(other(grey.repeat(channels, -1)), model(grey.repeat(3, -1)), rtol=0, atol=1e-5)


def test_a_stem_for_grey_images_serves_rgb_when_asked_to(tmp_path):
    grey = randomise(foreign.ours(input_shape=(None, None, 1)))
    kd.save_weights(grey, tmp_path / "grey.safetensors", "torchvision")
    model = foreign.ours()
    with pytest.raises(ValueError, match=r"makes its 1 channels 3$"):
        kd.load_weights(model, tmp_path / "grey.safetensors")
    kd.load_weights(model, tmp_path / "grey.safetensors", adapt_channels=True)
    images = foreign.images((2, 40, 33, 1))
    np.testing.assert_allclose(model(images.repeat(3, -1)), grey(images), rtol=0, atol=1e-5)


def test_another_architecture_is_refused_even_with_skip_mismatch():
    with pytest.raises(ValueError, match=r"needs features\.denseblock2\.denselayer2\.norm1\.weight of shape \(12,\)"):
        kd.load_weights(foreign.ours(blocks=(2, 2)), foreign.FIXTURES / "tiny_timm.safetensors", skip_mismatch=True)


def test_statistics_on_which_all_readers_agree_come_back_to_the_bit(tmp_path):
    model = randomise(foreign.ours())
    for layout, ending in (("torchvision", ".safetensors"), ("keras_densenet", ".weights.h5")):
        kd.save_weights(model, tmp_path / f"a{ending}", layout)
        again = foreign.ours(weights=tmp_path / f"a{ending}")
        for one, other in zip(model.weights, again.weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_weights_of_a_keras_file_of_this_package_load(tmp_path):
    model = randomise(foreign.ours())
    model.save(tmp_path / "model.keras")
    again = foreign.ours(weights=tmp_path / "model.keras")
    assert foreign.difference(model, again, foreign.images()) == 0


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(list(tiny.KINDS)), stem=st.sampled_from(list(tiny.STEMS)), seed=st.integers(0, 99))
@pytest.mark.parametrize("layout", ["torchvision", "monai", "keras", "keras-hub"])
def test_statistics_are_shared_and_spread_without_changing_any_reader(layout, kind, stem, seed):
    """In float64, over variances from 0 to 100: every reader's affine map is what it was."""
    plan = kd.Architecture.plan(**tiny.arguments(kind, stem))
    rng, names = np.random.default_rng(seed), list(layouts.names(plan, layout).values())
    tensors, grown = {}, {}
    for name in names:
        block = name.split("/")[0]
        if "_norm1_gamma" in name:
            grown[block] = grown.get(block, 2) + 3
        width = grown[block] if "_norm1_" in name else 4
        tensors[name] = rng.choice([0, 1e-9, 1, 100], width) if "variance" in name else rng.normal(size=width)
    shared = layouts.share_statistics(tensors, 1e-3, 1e-5)
    assert set(shared) == set(layouts.names(plan, "keras_densenet").values())
    spread = layouts.spread_statistics(shared, 1e-5, 1e-3)
    assert set(spread) == set(names)
    for norm in {name.removesuffix("_gamma") for name in names if name.endswith("_gamma")}:
        for x in (-3.0, 0.0, 2.0):
            values = [
                t[f"{norm}_gamma"] * (x - t[f"{norm}_moving_mean"]) / np.sqrt(t[f"{norm}_moving_variance"] + 1e-3)
                + t[f"{norm}_beta"]
                for t in (tensors, spread)
            ]
            np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("path", "layout", "sentence"),
    [
        ("a.h5", "onnx", "layout must be one of keras_densenet, torchvision, monai, keras. Received: layout='onnx'"),
        (
            "a.h5",
            "torchvision",
            r"path must end in \.safetensors or \.pth or \.pt for layout='torchvision'\. Received: 'a\.h5'",
        ),
    ],
)
def test_unknown_layout_and_ending_are_refused(model, path, layout, sentence):
    with pytest.raises(ValueError, match=sentence):
        kd.save_weights(model, path, layout)


def test_what_is_no_densenet_or_folded_is_refused(model, tmp_path):
    for other in (kd.fold(model), keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])):
        with pytest.raises(TypeError, match="not folded"):
            kd.save_weights(other, tmp_path / "a.safetensors", "torchvision")
