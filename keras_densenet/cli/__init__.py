"""`keras-densenet`: parses, calls the package, prints. A module a group of commands."""

import os
import re
import sys

import typer
from rich.text import Text

from keras_densenet.cli import (  # noqa: F401, each adds its commands to the application
    calibrate,
    convert,
    evaluate,
    explain,
    export,
    models,
    predict,
    quickstart,
    recipes,
    request,
    search,
    train,
)
from keras_densenet.cli.common import app
from keras_densenet.console import Console
from keras_densenet_launch import missing


def run(application=app):
    """Runs a command line; a user's mistake ends in one sentence and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # whatever is in a name
    try:
        application()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("KERAS_DENSENET_DEBUG"):
            raise
        told = missing(error, "search" if sys.argv[1:2] == ["search"] else "cli")
        told = told or in_options(str(error), typer.main.get_command(application), sys.argv[1:])
        Console(stderr=True).print(Text("Error:", "red"), told)
        sys.exit(2)


def in_options(message, command, words):
    """A message in which a command's options stand for Python's arguments, such as `--batch-size 0` for `batch_size=0`.

    Args:
        message: what is quoted in it stays.
        command: of `click`.
        words: that call it; they name the command of a group.
    """
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    options = {parameter.name: parameter.opts[0] for parameter in command.params if parameter.opts[0].startswith("--")}
    names = "|".join(map(re.escape, options))
    snakes = "|".join(re.escape(name) for name in options if "_" in name) or "(?!)"
    pattern = re.compile(rf"""(?<!\w)'[^']*'|"[^"]*"|(?<![-\w])(?:({names})=|({snakes})\b|^({names})(?=\ must\ ))""")

    def option(found):
        name = found[1] or found[2] or found[3]
        return found[0] if name is None else options[name] + " " * bool(found[1])

    return pattern.sub(option, message)
