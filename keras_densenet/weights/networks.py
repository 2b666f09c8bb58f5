"""Which networks a file holds, and which of its tensors belong to one: never a guess."""

import dataclasses
import re
from typing import Any, NamedTuple

from keras_densenet.weights import layouts


class Found(NamedTuple):
    """A network in a file.

    Attributes:
        layout: a key of `LAYOUTS`.
        names: `{name there: name here}` of what such a network has, a classifier in any case.
        tensors: what the file holds of it, by their names there without `prefix`.
        prefix: what these begin with in the file.
    """

    layout: str
    names: dict[str, str]
    tensors: dict[str, Any]
    prefix: str


def find(stored, plan, path, network=None):
    """Finds a network in a file by its stem's kernel: there is a network wherever one is.

    Args:
        stored: `{name: tensor}`, all that the file holds.
        plan: the `Architecture`.
        path: of the file, for errors.
        network: what the names of its tensors begin with, without the separator. Default: the only one.

    Returns:
        What was `Found`.

    Raises:
        ValueError: if there is none, none of that name, or more than one.
    """
    stored = {layouts.canonical(name): tensor for name, tensor in stored.items()}
    plan = dataclasses.replace(plan, classes=plan.classes or 1)
    tables = {layout: layouts.names(plan, layout) for layout in layouts.LAYOUTS}
    stems = {next(iter(table)) for table in tables.values()}
    prefixes = {name: (name.removesuffix(stem), stem) for name in stored for stem in stems if name.endswith(stem)}
    if not prefixes:
        raise ValueError(f"{path!r} holds no DenseNet in a layout that is known here: {', '.join(tables)}")
    prefix, stem = prefixes[_choose(prefixes, path, network)]
    tensors = _of(prefix, stored, [other for other, _ in prefixes.values()])
    alike = [layout for layout, table in tables.items() if next(iter(table)) == stem]
    layout = max(alike, key=lambda layout: len(tables[layout].keys() & tensors.keys()))
    names = tables[layout]
    if len(prefixes) == 1:
        classifier = [there for there, here in names.items() if here.startswith("classifier/")]
        tensors = {**_outside(prefix, stored, classifier), **tensors}
    return Found(layout, names, tensors, prefix)


def _choose(prefixes, path, network):
    """The name of the stem's kernel of a network; the networks go by such names where they have no others."""
    networks = {prefix.rstrip("/._"): name for name, (prefix, _) in prefixes.items()}
    if len(networks) < len(prefixes):
        networks = {name: name for name in prefixes}
    known = [repr(name) for name in networks]
    if network is None and len(known) > 1:
        raise ValueError(f"{path!r} holds {len(known)} networks, {' and '.join(known)}: choose one of them as network")
    if network is not None and network not in networks:
        raise ValueError(f"network must be {' or '.join(known)} in {path!r}. Received: network={network!r}")
    return next(iter(networks.values())) if network is None else networks[network]


def _of(prefix, stored, prefixes):
    """What lies behind a prefix, but for what lies behind another network's longer one."""
    inner = tuple(other for other in prefixes if other != prefix and other.startswith(prefix))
    names = [name for name in stored if name.startswith(prefix) and not name.startswith(inner)]
    return {name.removeprefix(prefix): stored[name] for name in names}


def _outside(prefix, stored, names):
    """Tensors outside of the model that they belong to, as a classifier on a backbone stands; the nearest."""
    found = {}
    while prefix:
        prefix = re.sub(r"[^/.]+[/.]?$", "", prefix)
        found = {**{name: stored[prefix + name] for name in names if prefix + name in stored}, **found}
    return found
