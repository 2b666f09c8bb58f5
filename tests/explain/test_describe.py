"""Networks as the paper's table 1, and drawn."""

import numpy as np
import pytest
from PIL import Image

import keras_densenet as kd
from keras_densenet import explain
from tests.tiny import KINDS, STEMS, network


def test_rows_are_those_of_the_papers_table():
    rows = explain.describe("densenet121")
    assert [(row.name, row.size[0], row.layers, row.in_channels, row.out_channels) for row in rows] == [
        ("stem", 112, "7x7 conv, stride 2", 3, 64),
        ("stem_pool", 56, "3x3 max pool", 64, 64),
        ("block1", 56, "6 x (1x1, 3x3 conv)", 64, 256),
        ("transition1", 28, "1x1 conv, avg pool", 256, 128),
        ("block2", 28, "12 x (1x1, 3x3 conv)", 128, 512),
        ("transition2", 14, "1x1 conv, avg pool", 512, 256),
        ("block3", 14, "24 x (1x1, 3x3 conv)", 256, 1024),
        ("transition3", 7, "1x1 conv, avg pool", 1024, 512),
        ("block4", 7, "16 x (1x1, 3x3 conv)", 512, 1024),
        ("head", 7, "BN, ReLU", 1024, 1024),
        ("classifier", 1, "avg pool, dense", 1024, 1000),
    ]
    assert sum(row.parameters for row in rows) == kd.cost("densenet121").trainable_parameters
    assert sum(row.macs for row in rows) == kd.cost("densenet121").macs
    assert {row.share for row in rows} == {None}
    assert explain.describe("densenet-40-12")[1].layers == "12 x (3x3 conv)"
    stem, pool, *_ = (row.layers for row in explain.describe("densenetblur121d"))
    assert (stem, pool) == ("3x3, 3x3, 3x3 conv, stride 2", "3x3 max pool, blur")


@pytest.mark.slow
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_has_a_share_of_the_time(kind, stem):
    model = network(kind, stem)
    seconds = explain.stage_seconds(model, batch_size=2, rounds=2)
    rows = explain.describe(model, seconds=seconds)
    assert len(seconds) == len(rows)
    assert all(row.share > 0 for row in rows)
    assert sum(row.share for row in rows) == pytest.approx(1)
    for other in (kd.fold(model), model.with_preprocessing("unit")):
        assert len(explain.stage_seconds(other, batch_size=2, rounds=1)) == len(rows)


def test_an_unknown_image_size_is_refused_or_given():
    model = network(include_top=False, input_shape=(None, None, 3))
    with pytest.raises(ValueError, match="image size, which is unknown"):
        explain.describe(model)
    with pytest.raises(ValueError, match="image size, which is unknown"):
        explain.stage_seconds(model)
    seconds = explain.stage_seconds(model, (20, 18, 3), 2, 1)
    rows = explain.describe(model, (20, 18, 3), seconds)
    assert [row.size for row in rows[:2]] == [(20, 18), (20, 18)]
    assert rows[-1].name == "head"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["densenet121", "densenet-40-12"])
def test_a_network_is_drawn_with_its_channels(tmp_path, name):
    explain.draw_network(name, tmp_path / "n.svg")
    text = (tmp_path / "n.svg").read_text()
    for stage in kd.Architecture.plan(**kd.family.variant(name)).stages:
        if stage.kind == "block":
            assert f"<!-- {stage.out_channels} -->" in text
            assert stage.name in text
    explain.draw_network(name, tmp_path / "n.png")
    with Image.open(tmp_path / "n.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20
