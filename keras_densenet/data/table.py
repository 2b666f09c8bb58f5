"""A table of paths and labels as a data set."""

import collections
import os
import pathlib
import re
from typing import NamedTuple

import numpy as np

from keras_densenet.data.check import Report
from keras_densenet.data.folder import PARTS
from keras_densenet.data.labelled import Files, LabelledFiles
from keras_densenet.data.rows import read_rows
from keras_densenet.names import visible

TABLES = (".csv", ".tsv", ".tab")
NAMES = {  # of columns, in lower case, with "_" between words
    "path": ("path", "image", "img", "file", "filename", "file_name", "filepath", "file_path", "image_path",
             "image_file", "image_index"),
    "label": ("label", "class", "class_name", "category", "target", "diagnosis", "dx"),
    "split": ("split", "subset", "partition"),
    "group": ("group", "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id"),
}  # fmt: skip
UNCERTAIN = {"ignore": -1, "positive": 1, "negative": 0}
UNSURE = -2
CELLS = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "": -1, "nan": -1, "-1": UNSURE, "-1.0": UNSURE}
MISSING = "files that are not there"
NO_LABEL = (
    "labels other than 1, 0, -1 or nothing (is the column no label? Name those that are: --column label=NAME,NAME)"
)
TWICE, CONTRARY = "paths twice", "paths twice with other labels, split or group"
DIVIDED = "rows whose group is in another split"
SILENT = "images of which no label is known, left out"


def list_table(file, images=None, uncertain=None, columns=None):
    """The `LabelledFiles` of a table (CSV, TSV) with a row for each image.

    It has a column of paths, and either one column with the class of each image, or a column for each of many labels
    with 1 (there), 0 (not there), -1 (uncertain) or nothing (unknown). There may be a column of splits (`train`, `val`,
    `validation`, `valid`, `test`), and one of groups, such as patients: what is held out at random never divides one.

    Args:
        file: the table's path. A column called path, image, file, filename, ... has the paths, label, class, category,
            target or diagnosis the classes, split the split, group, patient or patient_id the group; all others are
            labels if there is no class. A single one is a class if it has words or other numbers than 1, 0 and -1.
        images: the folder that paths are in. Default: the table's. Absolute paths are taken as they are.
        uncertain: what -1 means: "ignore" (unknown, the default), "positive" or "negative".
        columns: what other columns are, a dict from "path", "label", "split" or "group" to a name; "label" also to
            several, in a list or with commas; "" for none.

    Raises:
        ValueError: for a table that is none, with a list of what is bad and its rows, the header being row 1.
        OSError: if it cannot be read.
    """
    uncertain = uncertain or "ignore"
    if uncertain not in UNCERTAIN:
        raise ValueError(f"uncertain must be one of {', '.join(UNCERTAIN)}. Received: uncertain={uncertain!r}")
    source, report = f"The table {str(file)!r}", Report()
    header, rows = read_rows(file)
    roles = _roles(header, columns or {}, source)
    rows = _whole(rows, len(header), report)
    names, labels, many = _labels(header, rows, roles["label"], UNCERTAIN[uncertain], report)
    root = pathlib.Path(images or file.parent).expanduser()
    found = _undivided(_once(_images(header, rows, labels, roles, root, report), report), report)
    parts = {part: [path for path, image in found.items() if image.part == part] for part in set(PARTS.values())}
    if not parts["train"]:
        report.settle(source, False)
        what = "row of the split train" if found else "image of which a label is known"
        raise ValueError(f"{source} has no {what}, so there is nothing to train on")
    files = {}
    for part in filter(parts.get, ("train", "validation", "test")):
        known = np.array([found[path].labels for path in parts[part]], "int8" if many else "int32")
        files[part] = Files(parts[part], known)
    told = {path: image.told for path, image in found.items()}
    groups = {path: image.group for path, image in found.items()} if roles["group"] else None
    return LabelledFiles(files, names, told, report, file, source, groups, roles["group"] or None)


class _Image(NamedTuple):
    """What a row says of an image; `labels` are a class' number, or a list of values."""

    row: int
    cell: str
    part: str
    labels: int | list[int]
    group: str | None

    @property
    def told(self):
        return f"row {self.row}: {visible(self.cell)}"


def _images(header, rows, labels, roles, root, report):
    """The good rows' `_Image`s, a list for each path."""
    found, place = collections.defaultdict(list), header.index(roles["path"])
    parts, groups = (_cells(header, rows, roles[role]) for role in ("split", "group"))
    for index, (number, cells) in enumerate(rows):
        part = PARTS.get(parts[index].lower()) if parts else "train"
        image = _Image(number, cells[place], part, labels[index], groups and groups[index])
        path = pathlib.Path(os.path.normpath(root / image.cell))
        if not image.cell:
            report.add("rows without a path", f"row {number}")
        elif part is None:
            report.add(f"splits other than {', '.join(PARTS)}", f"row {number}: {visible(parts[index])!r}")
        elif image.group == "":
            report.add(f"rows without a {visible(roles['group'])}", f"row {number}")
        elif not os.path.lexists(path):
            report.add(MISSING, image.told)
        elif isinstance(image.labels, list) and max(image.labels) < 0:
            report.note(SILENT, image.told)
        elif image.labels is not None:
            found[path].append(image)
    return found


def _roles(header, columns, source):
    """The name of the column for each of "path", "split" and "group", "" where there is none, and those of labels."""
    has = f"It has {', '.join(map(repr, map(visible, header)))}"
    if unknown := set(columns) - set(NAMES):
        raise ValueError(f"columns must be of {', '.join(NAMES)}. Received: {', '.join(sorted(map(repr, unknown)))}")
    roles = {}
    for role, given in columns.items():
        several = [given] if given in header else given.split(",") if isinstance(given, str) else given
        roles[role] = [name for name in several if name]
        if missing := [name for name in roles[role] if name not in header]:
            raise ValueError(f"{source} has no column {missing[0]!r}, given for {role!r}. {has}")
    for role, known in NAMES.items():
        if role not in roles:
            free = [name for name in header if not any(name in names for names in roles.values())]
            roles[role] = [name for name in free if _plain(name) in known]
        if role != "label" and len(roles[role]) > 1:
            raise ValueError(
                f"{source} has several columns that may be the {role}: {', '.join(map(repr, roles[role]))}. "
                f"Say which is: --column {role}=NAME"
            )
    others = [name for name in header if not any(name in names for names in roles.values())]
    if not roles["path"]:
        raise ValueError(f"{source} has no column of paths, such as 'path'. {has}. Say which is: --column path=NAME")
    roles["label"] = roles["label"] or others
    if not roles["label"]:
        raise ValueError(f"{source} has no column of labels. {has}. Say which is: --column label=NAME")
    return {role: names if role == "label" else "".join(names) for role, names in roles.items()}


def _plain(name):
    return re.sub(r"\W+", "_", name.lower())


def _whole(rows, width, report):
    """The rows that have as many cells as the header."""
    for number, cells in rows:
        if len(cells) != width:
            report.add(f"rows with more or fewer cells than the header's {width}", f"row {number} has {len(cells)}")
    return [row for row in rows if len(row[1]) == width]


def _cells(header, rows, name):
    return [cells[header.index(name)].strip() for _, cells in rows] if name else None


def _labels(header, rows, columns, uncertain, report):
    """Names of classes or labels; for each row the class' number or a list of values, None where it is bad; which."""
    if len(columns) == 1 and _is_class(columns[0], _cells(header, rows, columns[0])):
        found = _cells(header, rows, columns[0])
        for (number, _), label in zip(rows, found, strict=True):
            if not label:
                report.add(f"rows without a {columns[0]}", f"row {number}")
        names = sorted({label for label in found if label})
        numbers = {name: number for number, name in enumerate(names)}
        return names, [numbers.get(label) for label in found], False
    cells_of = {**CELLS, "-1": uncertain, "-1.0": uncertain}
    places, labels = [header.index(name) for name in columns], []
    for number, cells in rows:
        values = [cells_of.get(cells[place].strip().lower()) for place in places]
        for name, place, value in zip(columns, places, values, strict=True):
            if value is None:
                report.add(NO_LABEL, f"row {number}: {visible(cells[place])!r} for {visible(name)!r}")
        labels.append(None if None in values else values)
    return columns, labels, True


def _is_class(name, cells):
    """Whether a table's only column of labels has classes rather than 1, 0, -1 and nothing."""
    if _plain(name) in NAMES["label"]:
        return True
    filled = [cell for cell in (cell.strip().lower() for cell in cells) if CELLS.get(cell) != -1]
    others = [cell for cell in filled if cell not in CELLS]
    return any(re.fullmatch(r"[-+]?\d+(\.\d*)?", cell) for cell in others) or 2 * len(others) > len(filled)


def _once(found, report):
    """The `_Image` of each path that is there once, or always says the same."""
    images = {}
    for path, (first, *others) in found.items():
        contrary = [other for other in others if other[2:] != first[2:]]
        for other in others:
            report.add(CONTRARY if other in contrary else TWICE, f"{other.told}, as in row {first.row}")
        if not contrary:
            images[path] = first
    return images


def _undivided(images, report):
    """Without images of a group that is in another split at first."""
    first, whole = {}, {}
    for path, image in images.items():
        before = first.setdefault(image.group, image) if image.group else image
        if before.part == image.part:
            whole[path] = image
        else:
            told = f"row {image.row} ({visible(image.group)} is in {before.part} in row {before.row})"
            report.add(DIVIDED, told)
    return whole
