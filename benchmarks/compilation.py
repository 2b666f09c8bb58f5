"""How long the first training step takes to trace and compile: python -m benchmarks.compilation.

Three starts of each contestant, in turns; ten minutes.
"""

import statistics

import rich.table

from benchmarks.race import console, machine, networks, race, save

CONTESTANTS = "keras_densenet, XLA", "ordinary Keras, XLA"
STARTS = 3


def measure(network, batch_size):
    """A row for each contestant: medians over its starts of the seconds of a first call and of XLA's compilation."""
    starts = [row for _ in range(STARTS) for row in race("train", network, batch_size, rounds=2, only=CONTESTANTS)]
    return [
        {
            "name": name,
            **{
                figure: statistics.median(row[figure] for row in starts if row["name"] == name)
                for figure in ("first_call", "compilation")
            },
        }
        for name in CONTESTANTS
    ]


if __name__ == "__main__":
    for network, batch_size in networks():
        title = f"compilation, {network}, batch {batch_size}"
        rows = measure(network, batch_size)
        table = rich.table.Table("contestant", "first call", "XLA's compilation", title=title)
        for row in rows:
            table.add_row(row["name"], f"{row['first_call']:.1f} s", f"{row['compilation']:.1f} s")
        console.print(table, f"medians of {STARTS} starts, in turns. {machine()}")
        save(title, rows)
