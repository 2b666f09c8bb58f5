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
        **others: JSON, for people to read, and "data": a dict with "name", and where they are needed "data_dir" and
            "skip_bad", of the data set that it is to be trained on, as `data.load` takes them.
    """
    with written_beside(path) as beside:
        beside.write_text(json.dumps({"network": network, "recipe": recipe, **others}, indent=2) + "\n")


def read_plan(path):
    """Reads what `write_plan` wrote.

    Returns:
        Arguments of `DenseNet` without input and classes, fields of a `Recipe`, and the data with its "shape" and
        "classes": three dicts, the last one empty in a file without data.

    Raises:
        ValueError: if the file is something else.
        OSError: if it cannot be read.
    """
    with open(path) as file:
        try:
            plan = json.load(file)
            network = {k: v for k, v in plan["network"].items() if k not in ("input_shape", "classes", "dropout_rate")}
            Recipe(**plan["recipe"])
            data = plan.get("data") or {}
            if data:
                shape, classes = tuple(plan["network"]["input_shape"]), plan["network"]["classes"]
                data = {"data_dir": None, "skip_bad": False, **data, "shape": shape, "classes": classes}
                data["name"] = str(data["name"])
            return {**network, "blocks": tuple(network["blocks"])}, plan["recipe"], data
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{str(path)!r} is no network with its recipe ({type(error).__name__}: {error}): give the best.json of "
                "a search, or a name from `keras-densenet models`"
            ) from None
