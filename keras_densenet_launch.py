"""Starts `keras-densenet` and keeps TensorFlow's start-up messages from the user."""

import contextlib
import os
import sys

OF_EXTRAS = {
    *("PIL", "importlib_resources", "keras_tuner", "matplotlib", "requests", "rich", "scipy", "sklearn"),
    *("tensorboard", "tensorflow_datasets", "tensorflow_serving", "typer"),
}


def main():
    with quiet("cli"):
        from keras_densenet.cli import run
    run()


@contextlib.contextmanager
def quiet(extra):
    """Silences the imports of the block; what cannot be imported ends the program with a sentence.

    Args:
        extra: that has the packages, in case one of `OF_EXTRAS` is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with _quiet_stderr():
            yield
    except ImportError as error:
        sys.exit(f"keras-densenet {missing(error, extra) or f'cannot start: {error}'}")


def missing(error, extra):
    """What an error says that is due to a package of an extra; None for any other."""
    if isinstance(error, ModuleNotFoundError) and error.name in OF_EXTRAS:
        return f"needs {error.name}: pip install 'keras-densenet[{extra}]'"
    return None


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
