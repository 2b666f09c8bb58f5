"""Names in pictures."""

import re
import unicodedata

import numpy as np
import pytest
from matplotlib import font_manager

from keras_densenet.pictures import lettering
from keras_densenet.training.curves import draw_confusion


@pytest.fixture
def font(tmp_path):
    """An installed font that has one letter of Chinese."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen, builder = TTGlyphPen(None), FontBuilder(1000)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "cat": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Cats", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWeightClass=400)
    builder.setupPost()
    builder.save(tmp_path / "cats.ttf")
    known = [*font_manager.fontManager.ttflist]
    font_manager.fontManager.addfont(tmp_path / "cats.ttf")
    yield "Cats"
    font_manager.fontManager.ttflist[:] = known


def _drawn(labels, path):
    draw_confusion(np.eye(len(labels), dtype="int64"), labels, path)
    return re.findall("<!-- (.*?) -->", path.read_text())


@pytest.mark.parametrize("name", ["under $5_$", "$x", r"a\$b$c^$", "x_2^y", "{%}", "Äpfel", "A\u030angstro\u0308m"])
def test_a_name_is_drawn_as_it_is(name, tmp_path):
    assert unicodedata.normalize("NFC", name) in _drawn([name, "other"], tmp_path / "c.svg")


def test_a_name_that_no_font_can_write_is_drawn_as_its_number(tmp_path):
    drawn = _drawn(["dog", "\ufdd0", "\U0010fffd"], tmp_path / "c.svg")  # which no font has
    assert drawn[:3] == ["dog", "1", "2"]


def test_a_font_that_has_the_letters_is_found(font, tmp_path):
    (text,), families = lettering(["猫"])
    assert (text, families[-1]) == ("猫", font)
    assert "猫" in _drawn(["猫", "dog"], tmp_path / "c.svg")


def test_control_characters_are_escapes():
    assert lettering(["a\nb\x07"])[0] == [r"a\nb\x07"]
