"""What a search keeps on disk, in a folder that is its own."""

import contextlib
import json
import pathlib
import shutil

import keras
import keras_tuner
import tensorflow as tf

import keras_densenet
from keras_densenet.files import changes, locked, sweep, written_beside
from keras_densenet.training.recipe import completed


@contextlib.contextmanager
def claim(folder, settings, overwrite=False, place=None):
    """Makes a folder this search's, and keeps other processes out of it until the block ends.

    Only the process that holds the oracle claims the folder: the single one or the chief. `search.json` in it
    remembers the settings, the place of the data and the versions of the packages.

    Args:
        folder: where the search keeps everything; made if it is not there.
        settings: dict for JSON, all that makes this search another one when it changes.
        overwrite: whether to delete everything in the folder of a former search first.
        place: dict for JSON, where the data lies; it may move while the search goes on.

    Raises:
        ValueError: if the folder holds a search with other settings, an unreadable `search.json`, or files of another
            kind, or if another process searches in it.
        OSError: if it cannot be written to.
    """
    folder = pathlib.Path(folder)
    record = folder / "search.json"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder, wait=False))
        except BlockingIOError:
            raise ValueError(
                f"Another process searches in {str(folder)!r}: wait for it, or give another folder"
            ) from None
        if overwrite and record.exists():
            _empty(folder, last=record)
        sweep(folder, "*.json")
        for trial in folder.glob("trial_*"):
            sweep(trial, "trial.json")
        settings, state = json.loads(json.dumps(settings)), {"versions": versions()}
        if record.exists():
            state = _checked(record, settings)
        elif strangers := sorted(path.name for path in folder.iterdir()):
            raise ValueError(f"{str(folder)!r} holds {strangers[0]!r} and no search: give a new or an empty folder")
        write_json(record, {"settings": settings, "place": place, "versions": state["versions"]}, indent=2)
        yield


def versions():
    """The versions of the packages that chief and workers must agree on, a dict."""
    packages = {"keras_densenet": keras_densenet, "keras": keras, "tensorflow": tf, "keras_tuner": keras_tuner}
    return {name: package.__version__ for name, package in packages.items()}


def write_json(path, state, **options):
    """Writes a JSON file that is whole or not there."""
    with written_beside(path) as beside:
        beside.write_text(json.dumps(state, **options) + "\n")


def read_json(path, take):
    """What `take` makes of a JSON file's content; raises ValueError if it cannot."""
    try:
        return take(json.loads(pathlib.Path(path).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{str(path)!r} is not a search's state as it was written ({reason}): restore it, give another folder, or "
            "overwrite the search"
        ) from None


def _empty(folder, last):
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != last:
            path.unlink()
    last.unlink()


def _checked(record, settings):
    """What `search.json` holds, if the settings are its own."""
    state = read_json(record, lambda state: {name: state[name] for name in ("settings", "versions")})
    before = dict(state["settings"])
    if "recipe" in before:
        before["recipe"] = completed(before["recipe"])
    if changed := changes(before, settings):
        raise ValueError(
            f"{str(record.parent)!r} holds a search with other settings ({changed}): give another folder or "
            "overwrite it"
        )
    return state
