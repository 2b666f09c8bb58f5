"""The public surface has type hints, which a type checker sees; that they are right is mypy's part."""

import ast
import importlib
import inspect
import pathlib

import mypy.api
import pytest

import keras_densenet
from keras_densenet import search

PACKAGES = ["", ".data", ".explain", ".layers", ".models", ".ops", ".search", ".serving", ".training", ".weights"]
UNTYPED = [
    *search.ALGORITHMS.values(),
    search.ParetoOptimization,
    search.Tuner,
]  # what KerasTuner calls, which has no types
SPECIAL = ("__call__", "__getitem__", "__init__", "__len__")


def _public():
    """The public functions, and of the public classes the methods where they come up first."""
    for package in PACKAGES:
        module = importlib.import_module(f"keras_densenet{package}")
        for thing in (getattr(module, name) for name in module.__all__):
            if thing in UNTYPED:
                continue
            if inspect.isclass(thing):
                yield from filter(inspect.isfunction, _methods(thing))
            elif inspect.isfunction(thing):
                yield thing


def _methods(kind):
    parents = [c for c in kind.__mro__ if c.__module__.startswith("keras_densenet") and not c.__name__.startswith("_")]
    methods = {name: method for parent in parents for name, method in vars(parent).items()}
    for name, method in methods.items():
        is_default = getattr(method, "__name__", "") == "<lambda>"
        if (name in SPECIAL or not name.startswith("_")) and not is_default:
            wrapped = [getattr(method, attribute, None) for attribute in ("fget", "func", "__func__")]
            yield next(filter(None, wrapped), method)


def _name(function):
    return f"{function.__module__}.{function.__qualname__}"


@pytest.mark.slow
@pytest.mark.parametrize("function", sorted(set(_public()), key=_name), ids=_name)
def test_a_public_function_is_annotated_throughout(function):
    signature = inspect.signature(function)
    bare = [name for name, parameter in signature.parameters.items() if parameter.annotation is parameter.empty]
    assert not set(bare) - {"self", "cls"}
    assert signature.return_annotation is not signature.empty
    late = _for_type_checkers(inspect.getmodule(function))
    inspect.get_annotations(function, eval_str=True, locals=late)  # every name in them is one


def _for_type_checkers(module):
    """The names that a module imports for type checkers alone."""
    found = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(compile(ast.Module(node.body, []), module.__name__, "exec"), vars(module) | found, found)
    return found


@pytest.mark.slow
def test_a_type_checker_knows_the_names_that_are_imported_late_and_the_arguments_of_constructors(tmp_path):
    lines = {
        "import keras_densenet as kd": "",
        "kd.DenseNet121(classes=5, weights='imagenet')": "",
        "kd.DenseNet169(classes='many')": 'Argument "classes" to "DenseNet169" has incompatible type "str"',
        "kd.DenseNet201(clases=5)": 'Unexpected keyword argument "clases" for "DenseNet201"',
        "kd.training.RECIPES['short'].optimizer().decay": "",
        "kd.nothing": 'Module has no attribute "nothing"',
        f"# {tmp_path}": "",  # of an equal file mypy tells what it has told before, where that lay
    }
    (tmp_path / "a.py").write_text("\n".join(lines) + "\n")
    config = ["--config-file", str(pathlib.Path(__file__).parents[1] / "pyproject.toml")]
    told, errors, _ = mypy.api.run([*config, str(tmp_path / "a.py")])
    assert not errors
    for number, expected in enumerate(lines.values(), 1):
        found = [line for line in told.splitlines() if line.startswith(f"{tmp_path}/a.py:{number}: error")]
        assert [expected in line for line in found] == [True] * bool(expected), told


def test_type_checkers_are_told_that_there_are_types():
    assert (pathlib.Path(keras_densenet.__file__).parent / "py.typed").is_file()
