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

    And of the first call in the next process, which finds this package's program; ordinary Keras keeps none.
    """
    starts = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as programs:
            found = race("train", network, batch_size, rounds=2, only=CONTESTANTS, programs=programs)
            again = race("train", network, batch_size, rounds=2, only=CONTESTANTS[:1], programs=programs)
        next_calls = {row["name"]: row["first_call"] for row in [*found, *again]}
        starts += [{**row, "next_call": next_calls[row["name"]]} for row in found]
    return [
        {
            "name": name,
            **{
                figure: statistics.median(row[figure] for row in starts if row["name"] == name)
                for figure in ("first_call", "next_call", "compilation")
            },
        }
        for name in CONTESTANTS
    ]


if __name__ == "__main__":
    for network, batch_size in networks():
        title = f"compilation, {network}, batch {batch_size}"
        rows = measure(network, batch_size)
        table = rich.table.Table("contestant", "first call", "next process'", "XLA's compilation", title=title)
        for row in rows:
            name, *figures = row.values()
            table.add_row(name, *(f"{seconds:.1f} s" for seconds in figures))
        console.print(table, f"medians of {STARTS} starts, in turns. {machine()}")
        save(title, rows)
