"""A network and how to train it, as a file: what a search hands over to a whole training."""

import json

from keras_densenet.files import written_beside
from keras_densenet.training.recipe import Recipe


def write_plan(path, network, recipe, **others):
    """Writes a JSON file that `keras-densenet train --model` takes.

    Args:
        path: of the file.
        network: a dict of `DenseNet` arguments.
        recipe: a dict of `Recipe` fields that belong to the network.
        **others: for people to read, JSON.
    """
    with written_beside(path) as beside:
        beside.write_text(json.dumps({"network": network, "recipe": recipe, **others}, indent=2) + "\n")


def read_plan(path):
    """Reads what `write_plan` wrote.

    Returns:
        Arguments of `DenseNet` without input and classes, and fields of a `Recipe`: two dicts.

    Raises:
        ValueError: if the file is something else.
        OSError: if it cannot be read.
    """
    with open(path) as file:
        try:
            plan = json.load(file)
            network = {k: v for k, v in plan["network"].items() if k not in ("input_shape", "classes", "dropout_rate")}
            Recipe(**plan["recipe"])
            return {**network, "blocks": tuple(network["blocks"])}, plan["recipe"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{str(path)!r} is no network with its recipe ({type(error).__name__}: {error}): give the best.json of "
                "a search, or a name from `keras-densenet models`"
            ) from None
