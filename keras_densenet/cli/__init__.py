"""`keras-densenet`: parses, calls the package, prints. A module a group of commands."""

import os
import sys

from rich.text import Text

from keras_densenet.cli import (  # noqa: F401, each adds its commands to the application
    convert,
    evaluate,
    explain,
    export,
    models,
    predict,
    quickstart,
    request,
    search,
    train,
)
from keras_densenet.cli.common import app
from keras_densenet.console import Console


def run(application=app):
    """Runs a command line; a user's mistake ends in one sentence and exit code 2."""
    try:
        application()
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("KERAS_DENSENET_DEBUG"):
            raise
        Console(stderr=True).print(Text("Error:", "red"), str(error))
        sys.exit(2)
