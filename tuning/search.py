"""Searches for the best DenseNet within a budget: `keras-densenet search run`.

    python tuning/search.py --data digits --max-parameters 200k --trials 20

A few minutes on 2 cores. Interrupted and called again, it goes on. The results are in `searches/digits`, and `python
tuning/report.py searches/digits` shows them at any time. `--space` knows those of `keras-densenet search spaces`.
"""

import sys

import keras_densenet_launch

with keras_densenet_launch.quiet("search"):
    from keras_densenet import cli

if __name__ == "__main__":
    sys.argv[1:1] = ["search", "run"]
    cli.run()
