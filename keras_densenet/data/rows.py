"""The rows of a table of comma or tab separated values."""

import codecs
import csv
import io
import pathlib

DELIMITERS = ",;\t|"


def read_rows(path):
    """Reads a table in UTF-8, or in UTF-16 if it says so, as spreadsheet programs write them.

    Args:
        path: of the file; `.tsv` and `.tab` have tabs, of others the header tells.

    Returns:
        The header, a list of names; and `(number, cells)` of each row that is not blank, numbered as spreadsheet
        programs do, the header being row 1. Bytes that are no UTF-8 are kept as in Python's names of files.

    Raises:
        ValueError: for a file that is no such table, is empty, or names two columns alike.
        OSError: if it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no table {str(path)!r}") from None
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    rows, number = [], 0
    try:
        text = data.decode("utf-16") if wide else data.decode("utf-8-sig", "surrogateescape")
        for number, cells in enumerate(_reader(text, _delimiter(path, text)), 1):
            if any(map(str.strip, cells)):
                rows.append((number, cells))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"The table {str(path)!r} cannot be read after row {number}: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"The table {str(path)!r} is empty: it must have a header and a row for each image")
    header = [name.strip() for name in rows[0][1]]
    for name in header:
        if header.count(name) > 1:
            raise ValueError(
                f"The table {str(path)!r} has two columns {name!r} in row {rows[0][0]}: give one another name"
            )
    return header, rows[1:]


def _reader(text, delimiter):
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _delimiter(path, text):
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    return max(DELIMITERS, key=lambda delimiter: len(next(_reader(text, delimiter), [])))
