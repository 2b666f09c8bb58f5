"""Packages that import what is in them when somebody asks for it: TensorFlow takes seconds, and not all need it."""

import ast
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any


def exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose imports stand below `if TYPE_CHECKING`, for all to read.

    Args:
        package: its `__name__`.
    """
    module = sys.modules[package]
    blocks = [node.body for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block if isinstance(node, ast.ImportFrom)]
    places = {alias.name: node.module or package for node in imports for alias in node.names}

    def found(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if places[name] == package:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(places[name]), name)
        setattr(module, name, value)
        return value

    return found, lambda: sorted({*vars(module), *places})
