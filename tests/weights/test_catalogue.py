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
    assert row.parameters == kd.cost({**variant(row.variant), "include_top": row.include_top}).trainable_parameters
    assert 70 < row.top1 < row.top5 < 95
    assert row.preprocessing in ("torch", "caffe", "unit")
    assert row.repository or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{8,64}", row.hash)
    assert row.file.endswith((".h5", ".safetensors", ".pth"))


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


def test_other_classes_are_refused_before_anything_is_downloaded():
    with pytest.raises(ValueError, match=r"^classes must be 1000 .*Received: classes=7$"):
        kd.DenseNet121(weights="imagenet", classes=7)
