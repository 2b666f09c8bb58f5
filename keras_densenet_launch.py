"""Starts `keras-densenet` and keeps TensorFlow's start-up messages from the user."""

import contextlib
import os
import sys


def main():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            from keras_densenet.cli import run
    except ModuleNotFoundError as error:
        sys.exit(f"keras-densenet needs {error.name}: pip install 'keras-densenet[cli]'")
    run()


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
