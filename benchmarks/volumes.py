"""Training on volumes against the ordinary Keras graph and MONAI: python -m benchmarks.volumes.

A step of a network of blocks 4-8-8, k = 16, on two volumes of 48^3 voxels, in turns, and the largest cube that trains
in 4 GB, one in a batch. That follows from the buffers of the programs that XLA compiles for cubes of 32 and 64 voxels,
which grow with the voxels; how far off that is at 80 is told beside it. Six minutes on two idle cores.
"""

import sys

import numpy as np

from benchmarks.race import console, machine, race, save, table

MEMORY = 4e9
NETWORK = {"blocks": (4, 8, 8), "growth_rate": 16, "classes": 10}
KNOWN, CHECKED = (32, 64), 80  # edges of cubes


def network(side):
    """The network for cubes of so many voxels along an edge."""
    return {**NETWORK, "input_shape": (side, side, side, 1), "name": f"volumes-{side}"}


def extrapolated(buffers):
    """What follows from the bytes of buffers by edge: the largest edge, and how much more the checked one needs."""
    each, fixed = np.polyfit([side**3 for side in KNOWN], [buffers[side] for side in KNOWN], 1)
    deviation = buffers[CHECKED] / (each * CHECKED**3 + fixed) - 1
    return {"largest": int(((MEMORY - fixed) / each) ** (1 / 3)), "deviation": round(deviation, 4)}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    rows = race("train on volumes", network(48), 2, rounds)
    table("volumes", rows)
    compiled = [row for row in rows if row["buffers"]]
    buffers = {row["name"]: {} for row in compiled}
    for side in (*KNOWN, CHECKED):
        for row in race("train on volumes", network(side), 1, 2, list(buffers)):
            buffers[row["name"]][side] = row["buffers"]
    for row in rows:
        row.update(extrapolated(buffers[row["name"]]) if row in compiled else {"largest": None, "deviation": None})
    for row in compiled:
        console.print(
            f"{row['name']}: trains on cubes of up to {row['largest']}^3 in {MEMORY / 1e9:g} GB; cubes of {CHECKED}^3 "
            f"need {row['deviation']:+.1%} of what that follows from"
        )
    save("volumes", rows)
    console.print(machine())


if __name__ == "__main__":
    main()
