"""How long the first training step takes to trace and compile: python -m benchmarks.compilation.

Three starts of each contestant, in turns, and one more of this package's after each, for which the program is kept;
half an hour.
"""

import statistics
import tempfile

import rich.table

from benchmarks.race import console, machine, networks, race, save

CONTESTANTS = "keras_densenet, XLA", "ordinary Keras, XLA"
STARTS = 3


def measure(network, batch_size):
    """A row for each contestant: medians over its starts of the seconds of a first call and of XLA's compilation.

    And of this package's first call where an earlier process has kept its program.
    """
    starts = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as programs:
            starts += race("train", network, batch_size, rounds=2, only=CONTESTANTS, programs=programs)
            (again,) = race("train", network, batch_size, rounds=2, only=CONTESTANTS[:1], programs=programs)
        starts.append({"name": again["name"], "next_call": again["first_call"]})
    return [
        {
            "name": name,
            **{figure: _median(starts, name, figure) for figure in ("first_call", "next_call", "compilation")},
        }
        for name in CONTESTANTS
    ]


def _median(starts, name, figure):
    found = [row[figure] for row in starts if row["name"] == name and figure in row]
    return statistics.median(found) if found else None


if __name__ == "__main__":
    for network, batch_size in networks():
        title = f"compilation, {network}, batch {batch_size}"
        rows = measure(network, batch_size)
        table = rich.table.Table("contestant", "first call", "next process'", "XLA's compilation", title=title)
        for row in rows:
            cells = [f"{seconds:.1f} s" if seconds else "" for _, seconds in [*row.items()][1:]]
            table.add_row(row["name"], *cells)
        console.print(table, f"medians of {STARTS} starts, in turns. {machine()}")
        save(title, rows)
