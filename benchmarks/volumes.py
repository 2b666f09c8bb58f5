"""Training on volumes against the ordinary Keras graph and MONAI: python -m benchmarks.volumes [EDGE...].

A step of a network of blocks 4-8-8, k = 16, on two volumes of 48^3 voxels, in turns, and on single ones of other edges.
The largest cube that trains in 4 GB follows from the buffers of the programs that XLA compiles for two of these, which
grow with the voxels; the largest edge checks that. `python -m benchmarks.tables volumes` tells it all. Ten minutes.
"""

import sys

import numpy as np

from benchmarks.race import race, save, table

MEMORY = 4e9
NETWORK = {"blocks": (4, 8, 8), "growth_rate": 16, "classes": 10}
RACE, KNOWN, CHECKED = 48, (32, 64), 80  # edges of cubes
TITLE = "volumes, edge {}"


def extrapolated(buffers):
    """From the bytes of buffers by edge: the largest edge, and by what part the checked one's are more than follows."""
    each, fixed = np.polyfit([edge**3 for edge in KNOWN], [buffers[edge] for edge in KNOWN], 1)
    return int(((MEMORY - fixed) / each) ** (1 / 3)), buffers[CHECKED] / (each * CHECKED**3 + fixed) - 1


def main():
    for edge in map(int, sys.argv[1:] or (RACE, *KNOWN, CHECKED)):
        network = {**NETWORK, "input_shape": (edge, edge, edge, 1), "name": f"volumes-{edge}"}
        race_of = (2, 15) if edge == RACE else (1, 2)
        rows = race("train on volumes", network, *race_of, together=None if edge == RACE else 600)
        table(TITLE.format(edge), rows)
        save(TITLE.format(edge), rows)


if __name__ == "__main__":
    main()
