"""A network, how and on what to train it, as a file: what a search hands over to a whole training."""

import json
from typing import Any, NamedTuple

from keras_densenet.budget import Budget
from keras_densenet.files import write_json
from keras_densenet.training.recipe import Recipe


class Plan(NamedTuple):
    """What is to be trained.

    Args:
        network: a dict of `DenseNet` arguments without input and classes.
        recipe: a dict of `Recipe` fields that belong to the network.
        data: a dict with "name", "data_dir", "skip_bad" and "interpolation" of the data set, as `data.load` takes them,
            and its "shape" and "classes"; empty where any will do.
        budget: a `Budget` that the network was found within.
    """

    network: dict[str, Any]
    recipe: dict[str, Any]
    data: dict[str, Any]
    budget: Budget


def write_plan(path, network, recipe, **others):
    """Writes a JSON file that `keras-densenet train --model` takes.

    Args:
        path: of the file.
        network: a dict of `DenseNet` arguments.
        recipe: a dict of `Recipe` fields that belong to the network.
        **others: JSON: "data" and "budget" as in `Plan`, the rest for people to read.
    """
    write_json(path, {"network": network, "recipe": recipe, **others})


def read_plan(path):
    """Reads what `write_plan` wrote, without "data" and "budget" too.

    Returns:
        A `Plan`.

    Raises:
        ValueError: if the file is something else.
        OSError: if it cannot be read.
    """
    with open(path) as file:
        try:
            found = json.load(file)
            network, data = dict(found["network"]), dict(found.get("data") or {})
            shape, classes, _ = (network.pop(name, None) for name in ("input_shape", "classes", "dropout_rate"))
            if data:
                name = data["name"] if isinstance(data["name"], dict) else str(data["name"])
                data = {"name": name, **{key: data.get(key) for key in ("data_dir", "skip_bad", "interpolation")}}
                data |= {"shape": tuple(shape), "classes": int(classes)}
            Recipe(**found["recipe"])
            network = {**network, "blocks": tuple(network["blocks"])}
            return Plan(network, found["recipe"], data, Budget(**found.get("budget") or {}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{str(path)!r} is no network with its recipe ({type(error).__name__}: {error}): give the best.json of "
                "a search, or a name from `keras-densenet models`"
            ) from None
