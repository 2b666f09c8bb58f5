"""Training on volumes against the ordinary Keras graph and MONAI: python -m benchmarks.volumes.

A step of a network of blocks 4-8-8, k = 16, on two volumes of 48^3 voxels, in turns, and the largest cube that trains
in 4 GB, one in a batch. That follows from the buffers of the programs that XLA compiles for cubes of 32 and 64 voxels,
which grow with the voxels. Five minutes.
"""

import sys

from benchmarks.race import console, machine, race, save, table

MEMORY = 4e9
NETWORK = {"blocks": (4, 8, 8), "growth_rate": 16, "classes": 10}


def network(side):
    """The network for cubes of so many voxels along an edge."""
    return {**NETWORK, "input_shape": (side, side, side, 1), "name": f"volumes-{side}"}


def largest(small, large):
    """The edge of the largest cube that fits, from `(edge, bytes)` of two."""
    (edge, bytes_), (edge2, bytes2) = small, large
    each = (bytes2 - bytes_) / (edge2**3 - edge**3)
    return int((edge**3 + (MEMORY - bytes_) / each) ** (1 / 3))


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    rows = race("train on volumes", network(48), 2, rounds)
    table("volumes", rows)
    names = [row["name"] for row in rows if row["buffers"]]
    found = {side: race("train on volumes", network(side), 1, 2, names) for side in (32, 64)}
    buffers = [{row["name"]: (side, row["buffers"]) for row in of} for side, of in found.items()]
    for row in rows:
        row["largest"] = largest(*(each[row["name"]] for each in buffers)) if row["name"] in names else None
        if row["largest"]:
            console.print(f"{row['name']}: trains on cubes of up to {row['largest']}^3 in {MEMORY / 1e9:g} GB")
    save("volumes", rows)
    console.print(machine())


if __name__ == "__main__":
    main()
