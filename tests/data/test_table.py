import csv

import numpy as np
import pytest
from PIL import Image

from keras_densenet import data
from keras_densenet.data import sources
from tests.data.pictures import picture


def write_table(path, rows, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Forty different images 8x8, 00.png to 39.png."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(40):
        Image.fromarray(picture(number, 8, 8)).save(folder / f"{number:02}.png")
    return folder


def _rows(count=40, header=("path", "edema", "mass"), values=lambda n: (n % 2, n // 2 % 2)):
    return [header, *((f"{number:02}.png", *values(number)) for number in range(count))]


@pytest.fixture
def load(images, tmp_path):
    def load(rows, **options):
        return data.load(write_table(tmp_path / "table.csv", rows), **{"images": images, **options})

    return load


def _by_pixels(splits):
    """The label of each image by its bytes, and the part that it is in."""
    return {
        image.tobytes(): (np.array(label).tolist(), part)
        for part in ("train", "validation", "test")
        for image, label in zip(getattr(splits, part).images, getattr(splits, part).labels, strict=True)
    }


def test_a_column_for_each_label_has_1_0_and_nothing_for_unknown(load):
    cells = ["1", "0", "", "1.0", "0.0", "nan", " 1"]
    splits = load(_rows(values=lambda n: (cells[n % 7], n % 2)))
    assert splits.labels == ["edema", "mass"]
    assert splits.train.labels.dtype == np.int8
    found = _by_pixels(splits)
    known = [1, 0, -1, 1, 0, -1, 1]
    for number in range(40):
        assert found[picture(number, 8, 8).tobytes()][0] == [known[number % 7], number % 2]


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", -1), ("positive", 1), ("negative", 0)])
def test_minus_one_is_what_the_user_says(load, uncertain, value):
    splits = load(_rows(values=lambda n: ([1, 0, "-1", "-1.0", ""][n % 5], n % 2)), uncertain=uncertain)
    found = _by_pixels(splits)
    expected = [1, 0, value, value, -1]
    assert [found[picture(n, 8, 8).tobytes()][0][0] for n in range(40)] == [expected[n % 5] for n in range(40)]


def test_one_column_of_classes_is_a_class_of_each_image(load):
    splits = load(_rows(header=("Image Index", "Diagnosis"), values=lambda n: (["no", "früh", "late, or so"][n % 3],)))
    assert splits.labels == ["früh", "late, or so", "no"]
    assert splits.train.labels.dtype == np.int32
    found = _by_pixels(splits)
    assert [found[picture(n, 8, 8).tobytes()][0] for n in range(40)] == [[2, 0, 1][n % 3] for n in range(40)]


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("label", "01", ["0", "1"]),
        ("pneumonia", "01", ["pneumonia"]),
        ("grade", "0012", ["0", "1", "2"]),
        ("finding", ["yes", "no"], ["no", "yes"]),
    ],
)
def test_a_single_column_is_a_label_where_it_has_1_and_0_and_no_other_name(load, name, values, labels):
    splits = load(_rows(header=("file", name), values=lambda n: (values[n % len(values)],)))
    assert splits.labels == labels
    assert splits.train.labels.ndim == (2 if labels == ["pneumonia"] else 1)


def test_thousands_of_classes_are_read(tmp_path, images):
    (tmp_path / "many").mkdir()
    for number in range(2000):
        (tmp_path / "many" / f"{number}.png").symlink_to(images / f"{number % 40:02}.png")
    rows = [("path", "label"), *((f"{number}.png", f"class {number // 2}") for number in range(2000))]
    splits = data.load(write_table(tmp_path / "t.csv", rows), images=tmp_path / "many", validation=0, image_size=9)
    assert len(splits.labels) == len(set(splits.train.labels.tolist())) == 1000
    assert len(splits.train.labels) == len(splits.test.labels) == 1000
    assert isinstance(splits.train.images, data.Pictures)  # decoded when needed


def test_given_splits_are_kept_and_only_what_is_missing_is_held_out(load):
    names = ["train", "Train", "valid", "test", "train"]
    rows = _rows(header=("path", "edema", "mass", "split"), values=lambda n: (n % 2, n // 2 % 2, names[n % 5]))
    splits = load(rows)
    assert splits.held_out is None
    found = _by_pixels(splits)
    expected = {"train": "train", "Train": "train", "valid": "validation", "test": "test"}
    assert all(found[picture(n, 8, 8).tobytes()][1] == expected[names[n % 5]] for n in range(40))
    splits = load([row for row in rows if row[-1] != "valid"], validation=0.25)
    assert splits.held_out == {"seed": 0, "shares": {"validation": 0.25}, "by": None, "groups": None}
    assert [len(part.labels) for part in splits[:3]] == [18, 6, 8]


@pytest.mark.parametrize("column", ["Patient ID", "group", "subject"])
def test_images_of_a_patient_stay_together_and_it_is_told(load, column):
    splits = load(_rows(header=("path", "edema", "mass", column), values=lambda n: (n % 2, n // 2 % 2, f"p{n // 4}")))
    found = _by_pixels(splits)
    parts = [{found[picture(4 * p + i, 8, 8).tobytes()][1] for i in range(4)} for p in range(10)]
    assert all(len(part) == 1 for part in parts)
    assert set.union(*parts) == {"train", "validation", "test"}
    assert splits.labels == ["edema", "mass"]
    assert splits.held_out == {"seed": 0, "shares": {"test": 0.2, "validation": 0.1}, "by": column, "groups": 10}
    of_parts = [set(part.groups) for part in splits[:3]]
    assert sum(map(len, of_parts)) == len(set.union(*of_parts)) == 10


def test_columns_are_what_the_user_says(load):
    header = ("id", "path", "edema", "mass", "age", "patient")
    rows = _rows(header=header, values=lambda n: (f"{39 - n:02}.png", n % 2, n // 2 % 2, 50 + n, "p1"))
    columns = {"path": "path", "label": "mass,edema", "group": ""}
    splits = load(rows, columns=columns)
    assert splits.labels == ["mass", "edema"]
    assert splits.held_out["by"] is None
    assert _by_pixels(splits)[picture(39, 8, 8).tobytes()][0] == [0, 0]
    assert load(rows, columns={**columns, "path": "id"}).labels == splits.labels


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_spreadsheets_write_tables_in_many_ways(images, tmp_path, delimiter, encoding):
    path = write_table(tmp_path / "table.csv", _rows(header=("path", "ödem", "mass")), delimiter, encoding)
    assert data.load(path, images=images).labels == ["ödem", "mass"]
    assert data.load(write_table(tmp_path / "t.tsv", _rows(), "\t"), images=images).labels == ["edema", "mass"]


def test_paths_have_any_characters_and_lie_anywhere(tmp_path):
    names = ["a, b.png", 'quo"te.png', "ü é.png", "new\nline.png", "semi;colon.png", "#.png", " led.png", "-1.png", "1"]
    names += [b"latin\xe4.png".decode("utf-8", "surrogateescape"), "sub/deep.png", "../up.png"]
    (tmp_path / "table" / "sub").mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number, 8, 8)).save(tmp_path / "table" / name, "PNG")
    names[0] = str(tmp_path / "table" / names[0])
    lines = [("path", "label"), *((name, "ab"[n % 2]) for n, name in enumerate(names))]
    with open(tmp_path / "table" / "t.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows(lines)
    splits = data.load(tmp_path / "table" / "t.csv")
    found = _by_pixels(splits)
    assert [found[picture(n, 8, 8).tobytes()][0] for n in range(len(names))] == [n % 2 for n in range(len(names))]


SPLIT = ("path", "edema", "mass", "split")
GROUP = ("path", "edema", "mass", "patient")
BAD = {
    "no such column": (_rows(), {"columns": {"label": "oedema"}}, r"has no column 'oedema', given for 'label'. It has"),
    "no paths": (_rows(header=("x", "edema", "mass")), {}, r"no column of paths, such as 'path'. It has 'x', 'edema'"),
    "no labels": ([("path",), ("00.png",)], {}, r"has no column of labels. It has 'path'"),
    "two paths": (
        _rows(header=("path", "image", "mass")),
        {},
        r"several columns that may be the path: 'path', 'image'",
    ),
    "a role": (_rows(), {"columns": {"pat": "path"}}, r"columns must be of path, label, split, group. Received: 'pat'"),
    "two alike": (_rows(header=("path", "mass", "mass")), {}, r"two columns 'mass' in row 1"),
    "empty": ([], {}, r"is empty: it must have a header and a row for each image"),
    "only a header": (_rows(0), {}, r"is empty"),
    "a word": ([*_rows(), ("x.png", "yes", 1)], {}, r"row 42: 'yes' for 'edema'"),
    "a number": ([*_rows(), ("x.png", 1, "0.5")], {}, r"row 42: '0.5' for 'mass'"),
    "too few cells": ([*_rows(3), ("x.png", 1), *_rows()[5:]], {}, r"fewer cells than the header's 3: row 5 has 2"),
    "all unknown": (_rows(values=lambda n: ("", "")), {}, r"no image of which a label is known"),
    "a label unknown": (
        _rows(values=lambda n: (n % 2, "")),
        {},
        r"labels of one value only in train: mass is always unk",
    ),
    "one class": (_rows(header=("path", "label"), values=lambda n: ("a",)), {}, r"two or more classes. Received: 1"),
    "one value": (_rows(values=lambda n: (n % 2, 1)), {}, r"labels of one value only in train: mass is always 1"),
    "no class": ([*_rows(9, ("path", "label"), lambda n: ("ab"[n % 2],)), ("x", "")], {}, r"without a label: row 11"),
    "twice": ([*_rows(), ("./07.png", 1, 1)], {}, r"paths twice: row 42: ./07.png, as in row 9"),
    "contrary": ([*_rows(), ("07.png", 0, 1)], {}, r"paths twice with other labels, .*: row 42: 07.png, as in row 9"),
    "missing": ([*_rows(), ("x.png", 0, 1)], {}, r"files that are not there: row 42: x.png"),
    "no path": ([*_rows(), ("", 0, 1)], {}, r"rows without a path: row 42"),
    "split": (
        [*_rows(header=SPLIT, values=lambda n: (n % 2, n % 3 % 2, "train")), ("x.png", 0, 1, "tst")],
        {},
        r"'tst'",
    ),
    "no train": (_rows(header=SPLIT, values=lambda n: (n % 2, n % 3 % 2, "test")), {}, r"no row of the split train"),
    "no patient": (_rows(header=GROUP, values=lambda n: (n % 2, n % 3 % 2, n or "")), {}, r"without a patient: row 2"),
    "one patient": (
        _rows(header=GROUP, values=lambda n: (n % 2, n % 3 % 2, 7)),
        {},
        r"too few values of 'patient'",
    ),
    "uncertain": (
        _rows(),
        {"uncertain": "maybe"},
        r"must be one of ignore, positive, negative. Received: uncertain='m",
    ),
    "divided": (
        _rows(header=(*GROUP, "split"), values=lambda n: (n % 2, n % 3 % 2, n // 2, ["train", "test"][n == 39])),
        {},
        r"1 rows whose group is in another split: row 41 \(19 is in train in row 40\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_told_with_the_row(load, case):
    rows, options, sentence = BAD[case]
    with pytest.raises(ValueError, match=sentence) as error:
        load(rows, **options)
    assert "table.csv" in str(error.value) or case in ("uncertain", "a role", "one patient")


def test_a_table_that_is_none_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no table .*none\.csv"):
        data.load(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text('path,label\n"a.png,1\nb.png,0\n')
    with pytest.raises(ValueError, match=r"a\.csv' cannot be read after row 1: unexpected end of data"):
        data.load(tmp_path / "a.csv")


def test_skip_bad_goes_on_without_what_is_bad(load, images, tmp_path):
    (tmp_path / "broken.png").write_bytes((images / "39.png").read_bytes()[:50])
    rows = _rows(39, GROUP, lambda n: (n % 2, n // 2 % 2, n // 3))
    rows += [("x.png", 1, 1, 1), ("00.png", 1, 1, 0), ("01.png", 1, 0, 0), (tmp_path / "broken.png", 0, 0, 3)]
    rows += [("39.png", "no", 1, 9), ("39.png", "", "", 9)]
    splits = load(rows, skip_bad=True)
    assert sum(len(part.labels) for part in splits[:3]) == 38  # of 00.png nobody knows what is right
    assert "bad data skipped: 1 paths twice: row 43: 01.png, as in row 3" in splits.notes
    assert f"bad data skipped: 1 truncated or damaged: row 44: {tmp_path / 'broken.png'}" in splits.notes
    assert "1 images of which no label is known, left out: row 46: 39.png" in splits.notes


def test_a_label_that_a_given_test_part_has_not_is_a_note(load):
    rows = _rows(header=SPLIT, values=lambda n: (n % 2, n // 2 % 2 if n < 20 else 0, "train" if n < 20 else "test"))
    assert "1 labels of one value only in test: mass is always 0" in load(rows).notes


def test_a_table_is_found_again_by_its_description(load, images, tmp_path, monkeypatch):
    rows = _rows(header=("path", "x", "mass"), values=lambda n: ("-1" if n % 5 == 0 else n % 2, n // 2 % 2))
    options = {"uncertain": "negative", "columns": {"label": "mass,x"}}
    splits = load(rows, **options)
    monkeypatch.chdir(tmp_path)
    known = sources.described("table.csv", images=images, **options)
    assert sources.name_of(known) == "table.csv"
    again = data.load(sources.absolute(known))
    assert again.labels == splits.labels == ["mass", "x"]
    np.testing.assert_array_equal(again.test.images, splits.test.images)
    np.testing.assert_array_equal(again.test.labels, splits.test.labels)
    assert sources.absolute(known)["source"] == str(tmp_path / "table.csv")
    assert sources.described("digits", images=None, columns={}) == "digits"


def test_what_is_for_tables_is_refused_elsewhere(images):
    with pytest.raises(ValueError, match=r"images must be left out of what is no table .*Received: 'digits'"):
        data.load("digits", images=images)
