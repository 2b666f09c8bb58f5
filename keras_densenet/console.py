"""What is printed: names as they are, and tables that lose no text."""

import itertools

import rich.console
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from keras_densenet.names import visible

_ENDLESS = 1 << 20
_INDENT = 4
_GAP = "  "


class Console(rich.console.Console):
    """A console that takes strings for what they are: no markup, no emoji codes, no highlighting, no control codes.

    Where it does not write to a terminal, lines are as long as they are.
    """

    @property  # type: ignore[misc]
    def size(self):
        return super().size if self.is_terminal else rich.console.ConsoleDimensions(_ENDLESS, 25)

    def render_str(self, text, *, style="", justify=None, overflow=None, **_):
        return Text("\n".join(map(visible, text.split("\n"))), style, justify=justify, overflow=overflow)

    def status(self, status, **options):
        return super().status(self.render_str(status), **options)


class Table:
    """Rows under headings, to be printed; a row that is wider than the terminal goes on in lines of its own.

    Args:
        *headings: of the columns.
        right: indices of the columns that are set right.
    """

    def __init__(self, *headings, right=()):
        self.right, self.rows = right, []
        self.add_row(*headings)

    def add_row(self, *cells):
        """Adds a row: for each column a string, or a list of strings, one a line."""
        self.rows.append([[visible(line) for line in ([cell] if isinstance(cell, str) else cell)] for cell in cells])

    def __rich_console__(self, console, options):
        columns = zip(*self.rows, strict=True)
        widths = [max((cell_len(line) for cell in column for line in cell), default=0) for column in columns]
        for index, row in enumerate(self.rows):
            for indent, group in _groups(widths, options.max_width):
                cells = [[part for line in row[i] for part in chop_cells(line, width) or [""]] for i, width in group]
                for parts in itertools.zip_longest(*cells, fillvalue=""):
                    places = zip(group, parts, strict=True)
                    line = _GAP.join(self._set(part, i, width) for (i, width), part in places).rstrip()
                    if line:
                        yield Text(" " * indent + line, "" if index else "bold")

    def _set(self, text, column, width):
        blank = " " * (width - cell_len(text)) if column in self.right else ""
        return blank + text if blank else set_cell_size(text, width)


def _groups(widths, room):
    """Which columns share a line of `room` characters: a list of `(indent, [(column, width), ...])`."""
    groups = [(0, [])]
    for column, width in enumerate(widths):
        indent, group = groups[-1]
        used = indent + sum(other + len(_GAP) for _, other in group)
        if group and used + width > room:
            used, group = _INDENT, []
            groups.append((_INDENT, group))
        group.append((column, min(width, max(2, room - used))))
    return groups


def track(items, what, total=None, *, console):
    """The items, with a progress bar that goes away at the end; none where the console is no terminal."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total, description=visible(what))
