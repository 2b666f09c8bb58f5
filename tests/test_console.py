"""What is printed."""

import io

import pytest

from keras_densenet.console import Console, Table, track

NAMES = ["IMG_1 [edited].jpg", "d[/photo].jpg", ":smile:.png", "[red]x", "猫 (2).png", "Ä 12 0x1F 'a'.png", "{x} $5_$"]
UNSAFE = {"a\x1b[2Jb": r"a\x1b[2Jb", "a\rb": r"a\rb", "a\x9bb": r"a\x9bb", "a\u202eb": r"a\u202eb", "\udcff": r"\udcff"}


def table(*names, headings=("name", "figure"), **options):
    found = Table(*headings, **options)
    for name in names:
        found.add_row(name, *["7"] * (len(headings) - 1))
    return found


def status(console, name):
    with console.status(name):
        pass


WAYS = {
    "line": lambda console, name: console.print(name),
    "table": lambda console, name: console.print(table(name)),
    "status": status,
    "bar": lambda console, name: [*track([1], name, console=console)],
}


def printed(show, width=100, terminal=True):
    """What a function of a console prints."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is(name, way):
    assert name in printed(lambda console: WAYS[way](console, name))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", UNSAFE)
def test_what_would_move_the_cursor_is_printed_as_an_escape(name, way):
    output = printed(lambda console: WAYS[way](console, name))
    assert UNSAFE[name] in output
    assert name not in output


def test_a_name_with_a_newline_stays_in_its_row():
    assert printed(lambda console: console.print(table("a\nb"))).splitlines() == ["name  figure", "a\\nb  7"]


def test_lines_are_whole_where_nobody_looks_at_a_terminal():
    name = "folder/" * 100 + "image.png"
    output = printed(lambda console: console.print(table(name, name)), terminal=False)
    assert [line.split() for line in output.splitlines()] == [["name", "figure"], [name, "7"], [name, "7"]]
    sentence = "so many words " * 50
    assert printed(lambda console: console.print(sentence), terminal=False) == sentence + "\n"


@pytest.mark.parametrize("width", [2, 7, 20, 33, 80])
def test_a_narrow_terminal_wraps_rows_and_loses_no_text(width):
    rows = ["a-long-name-of-a-network", "猫" * 15, "short"]
    headings = ("name", "first figure", "second figure", "third")
    output = printed(lambda console: console.print(table(*rows, headings=headings)), width)
    assert all(len(line) <= max(width, 6) for line in output.splitlines())
    told = "".join(output.split())
    assert told == "".join((*headings, *(part for row in rows for part in (row, "7", "7", "7")))).replace(" ", "")


def test_what_fits_a_line_stands_in_columns():
    output = printed(lambda console: console.print(table("b", "Ähm", "猫猫", headings=("a", "figure"), right=(1,))))
    assert output.splitlines() == ["a     figure", "b          7", "Ähm        7", "猫猫       7"]
    output = printed(lambda console: console.print(table("left", headings=("name", "one", "two"))), 10)
    assert output.splitlines() == ["name  one", "    two", "left  7", "    7"]


def test_a_cell_may_have_several_lines():
    found = Table("a", "b")
    found.add_row(["1", "2"], "3")
    assert printed(lambda console: console.print(found)).splitlines() == ["a  b", "1  3", "2"]
