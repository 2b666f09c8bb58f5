"""The table of published checkpoints says what is true, and names find the right row."""

import re

import keras
import pytest

import keras_densenet as kd
from keras_densenet.architecture import Architecture
from keras_densenet.family import variant
from keras_densenet.weights.catalogue import CHECKPOINTS, find

ROWS = CHECKPOINTS.values()


def plan(name, **others):
    return Architecture.plan(**{**variant(name), **others})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows_agree_with_the_networks_they_name(row):
    network = {"include_top": row.include_top, "classes": row.classes, "input_shape": (64, 64, row.channels)}
    assert row.parameters == kd.cost({**variant(row.variant), **network}).trainable_parameters
    assert (row.data == "ImageNet") == (row.top1 is not None)
    assert row.top1 is None or 70 < row.top1 < row.top5 < 95
    kd.layers.Preprocess(row.preprocessing).build((None, None, None, row.channels))
    assert row.repository or row.note or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{8,64}", row.hash)
    assert row.file.endswith((".h5", ".safetensors", ".pth", ".pt"))


def test_rows_of_torchxrayvision_name_the_outputs_and_when_they_are_called_present():
    rows = [kd.weights_info(name) for name in kd.list_weights() if name.startswith("torchxrayvision:")]
    assert len(rows) == 7
    for row in rows:
        assert len(row.labels) == len(row.thresholds) == row.classes == 18
        assert all(bool(label) == bool(limit) for label, limit in zip(row.labels, row.thresholds, strict=True))
        assert {*row.labels} <= {*rows[0].labels, ""}
    assert rows[0].labels[9:12] == ("Pleural_Thickening", "Cardiomegaly", "Nodule")
    assert rows[0].labels[14:] == ("Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum")
    named = {"rsna": 2, "nih": 14, "pc": 15, "chex": 11, "mimic_nb": 11, "mimic_ch": 11}
    assert {row.name.split(":")[1]: len(list(filter(None, row.labels))) for row in rows[1:]} == named


def test_a_row_is_had_by_its_name_and_another_name_is_refused_with_the_nearest():
    row = kd.weights_info("timm:densenet121.ra_in1k")
    assert (row.variant, row.licence, row.top1) == ("densenet121", "Apache-2.0", 76.5)
    with pytest.raises(ValueError, match=r"^Unknown weights\. Received: 'torchxrayvision:al'\. Did you mean .*:all"):
        kd.weights_info("torchxrayvision:al")


@pytest.mark.parametrize("name", ["radimagenet", "radimagenet:densenet121"])
def test_weights_of_which_two_preprocessings_are_published_demand_a_choice(name):
    sentence = r"^Choose one of radimagenet:densenet121\.tensorflow, radimagenet:densenet121\.pytorch\. .*inconsistent"
    with pytest.raises(ValueError, match=sentence):
        kd.DenseNet121(weights=name, include_top=False)


def test_a_source_of_several_without_accuracies_demands_a_choice():
    with pytest.raises(
        ValueError, match=r"^Choose one of torchxrayvision:all, .* Received: weights='torchxrayvision'$"
    ):
        kd.DenseNet121(weights="torchxrayvision")


def test_urls_and_hashes_are_those_in_the_source_of_keras():
    with open(keras.src.applications.densenet.__file__) as file:
        source = file.read()
    rows = [row for row in ROWS if row.name.startswith("keras-applications")]
    assert len(rows) == 6
    for row in rows:
        assert re.search(rf'"{row.file}",\s+\w+,\s+cache_subdir="models",\s+file_hash="{row.hash[4:]}"', source), row
        assert row.url.removesuffix(row.file) in source


@pytest.mark.parametrize(
    ("name", "network", "top", "expected"),
    [
        ("imagenet", "densenet121", True, "timm:densenet121.ra_in1k"),
        ("imagenet", "densenet161", False, "timm:densenet161.tv_in1k"),
        ("imagenet", "densenet169", True, "keras-applications:densenet169"),
        ("imagenet", "densenet201", True, "timm:densenet201.tv_in1k"),
        ("imagenet", "densenetblur121d", True, "timm:densenetblur121d.ra_in1k"),
        ("keras-applications", "densenet121", True, "keras-applications:densenet121"),
        ("keras-applications", "densenet121", False, "keras-applications:densenet121.notop"),
        ("torchvision", "densenet161", True, "torchvision:densenet161"),
        ("timm:densenet121.tv_in1k", "densenet121", True, "timm:densenet121.tv_in1k"),
        ("some/file.h5", "densenet121", True, None),
    ],
)
def test_names_find_their_row(name, network, top, expected):
    found = find(name, plan(network, include_top=top, input_shape=(64, 64, 3)))
    assert (found and found.name) == expected


@pytest.mark.parametrize(
    ("name", "network", "published"),
    [
        ("imagenet", "densenet264", "nothing is"),
        ("imagenet", "densenet264d", "nothing is"),
        ("timm:densenet121.ra_in1k", "densenetblur121d", "timm:densenetblur121d.ra_in1k is"),
        ("imagenet", "densenet-bc-100-12", "nothing is"),
        ("keras-applications", "densenet161", "timm:densenet161.tv_in1k, torchvision:densenet161 is"),
        ("timm:densenet121.ra_in2k", "densenet121", "timm:densenet121.ra_in1k"),
    ],
)
def test_what_is_not_published_is_refused_with_what_is(name, network, published):
    with pytest.raises(ValueError, match=rf"{re.escape(published)}.*Received: weights='{name}'"):
        find(name, plan(network))


@pytest.mark.slow
def test_other_classes_are_refused_before_anything_is_downloaded():
    with pytest.raises(ValueError, match=r"^classes must be 1000 .*Received: classes=7$"):
        kd.load_weights(kd.DenseNet121(classes=7), "imagenet")
    with pytest.raises(ValueError, match=r"has no classifier: leave it out .* Received: classes=1000$"):
        kd.DenseNet121(weights="keras-applications:densenet121.notop")
