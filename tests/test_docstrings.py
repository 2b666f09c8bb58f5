"""Every public class and function has an example in its docstring, and its examples run and give what they say.

What needs a server or a download is marked `# doctest: +SKIP`.
"""

import doctest
import importlib
import inspect
import re
import shutil

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

import keras_densenet as kd
from tests.data.pictures import write_classes
from tests.test_types import PACKAGES

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
NETWORK = {"blocks": (1, 1), "growth_rate": 4}


def _public():
    """`{name: object}`, each object once."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"keras_densenet{package}")
        things = {name: getattr(module, name) for name in module.__all__}
        for name, thing in things.items():
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing not in found.values():
                found[f"kd{package}.{name}"] = thing
    return found


PUBLIC = _public()


def _splits():
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (48, 16, 16, 3)).astype("float32")
    labels = (np.arange(48) % 3).astype("int32")
    parts = (slice(24), slice(24, 36), slice(36, 48))
    return kd.data.Splits(*(kd.data.Split(images[part], labels[part]) for part in parts), ["cat", "dog", "frog"])


SPLITS = _splits()
GIVEN = {  # docs/reference/keras_densenet.md tells readers of these
    "model": lambda: kd.DenseNet(**NETWORK, stem="cifar", input_shape=(16, 16, 3), classes=3),
    "images": lambda: SPLITS.train.images[:4].copy(),
    "labels": lambda: SPLITS.train.labels[:4].copy(),
    "splits": _splits,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, an export, a run, and a search that has ended, with which its example goes on."""
    folder = tmp_path_factory.mktemp("place")
    write_classes(folder / "photos", {"cat": 8, "dog": 8})
    recipe = kd.training.Recipe(epochs=1, batch_size=8, xla=False)
    space = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1", growth_rate=4, recipe=recipe)
    budget, data = kd.search.Budget(max_parameters=10_000), {"name": "photos"}
    kd.search.search(folder / "searches/a", space, budget, SPLITS, data, algorithm="random", trials=1)
    (run,) = folder.glob("searches/a/*/run0")
    shutil.copytree(run, folder / "runs/a")
    kd.export_saved_model(GIVEN["model"](), folder / "served", "digits", preprocessing="unit")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_object_has_examples_that_run(name, place, monkeypatch):
    monkeypatch.chdir(place)
    source = inspect.getsource(PUBLIC[name]) if inspect.isclass(PUBLIC[name]) else PUBLIC[name].__doc__
    given = {word: make() for word, make in GIVEN.items() if re.search(rf"\b{word}\b", source)}
    names = {"kd": kd, "keras": keras, "keras_tuner": keras_tuner, "np": np, "tf": tf, **given}
    tests = doctest.DocTestFinder().find(PUBLIC[name], name, module=False, globs=names)
    assert any(test.name == name and test.examples for test in tests), f"{name} has no example in its docstring"
    told = []
    for test in tests:
        doctest.DocTestRunner(optionflags=FLAGS).run(test, out=told.append)
    assert not told, "".join(told)
    assert "Examples:" in PUBLIC[name].__doc__, "the reference shows what stands below Examples:"
