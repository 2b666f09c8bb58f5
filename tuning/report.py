"""Shows what a search has found: python tuning/report.py searches/digits.

A table, the best first, and `results.csv`, `pareto.png` and `best.json` in the search's folder, which may still run.
"""

import sys

import keras_densenet_launch

with keras_densenet_launch.quiet("search"):
    from keras_densenet import cli

if __name__ == "__main__":
    sys.argv[1:1] = ["search", "report"]
    cli.run()
