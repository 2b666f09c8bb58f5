"""Starts `keras-densenet` and keeps TensorFlow's start-up messages from the user."""

import contextlib
import os
import sys


def main():
    with quiet("cli"):
        from keras_densenet.cli import run
    run()


@contextlib.contextmanager
def quiet(extra):
    """Silences the imports of the block; a package that is missing ends the program in a sentence: `extra` has it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            yield
    except ModuleNotFoundError as error:
        sys.exit(f"keras-densenet needs {error.name}: pip install 'keras-densenet[{extra}]'")
    except ImportError as error:
        sys.exit(str(error))


@contextlib.contextmanager
def _quiet_stderr():
    """Closes file descriptor 2 for a while: TensorFlow's C++ code writes there before its log level counts."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
