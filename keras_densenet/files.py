"""Files that are whole or not there at all, and how what they hold differs from what is wanted."""

import contextlib
import csv
import fcntl
import json
import math
import os
import pathlib
import shutil
import tempfile

_TOLD = 8  # of what differs


@contextlib.contextmanager
def written_beside(path):
    """Lets the caller write a file or folder beside `path`, and renames it to `path` when that went well.

    Who may read it is what `open` and `mkdir` would have given, whatever the library that writes it thinks.

    Args:
        path: where the file or folder shall appear; its parent is made. A file that is there is replaced, a folder
            must not be there.

    Yields:
        A `pathlib.Path` that ends like `path` and does not exist yet.

    Raises:
        OSError: if the parent cannot be written to.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = pathlib.Path(folder) / path.name
        yield beside
        _set_modes(beside, path)
        os.replace(beside, path)


def _set_modes(beside, path):
    if path.is_file():
        shutil.copymode(path, beside)
        return
    probe = beside.with_name(f"{beside.name}.mode")
    probe.touch()
    file = probe.stat().st_mode
    probe.unlink()
    probe.mkdir()
    folder = probe.stat().st_mode
    for each in (beside, *beside.rglob("*")):
        each.chmod(folder if each.is_dir() else file)


@contextlib.contextmanager
def locked(folder, wait=True):
    """Holds a folder against other processes that do the same; a process that ends, however, holds nothing.

    Args:
        folder: which is made where it is not there.
        wait: whether to wait until it is free.

    Raises:
        BlockingIOError: without `wait`, if another process holds it.
        OSError: if it cannot be made.
    """
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def sweep(folder, name):
    """Removes what killed processes left of `written_beside(folder / name)`; call it while the folder is locked.

    Args:
        folder: where they wrote.
        name: what they wrote; may have wildcards.
    """
    for rest in pathlib.Path(folder).glob(f".{name}-" + "[a-z0-9_]" * 8):  # as `tempfile` names folders
        shutil.rmtree(rest, ignore_errors=True)


def write_json(path, found):
    """Writes dicts, lists and numbers as JSON, whole or not at all; a number that is none becomes null."""
    with written_beside(path) as beside:
        beside.write_text(json.dumps(_plain(found), indent=2) + "\n")


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path, rows):
    """Writes rows as CSV, whole or not at all; a name may be no Unicode, and a number comes back as it was."""
    how = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with written_beside(path) as beside, open(beside, "w", **how) as file:
        csv.writer(file).writerows(rows)


def write_table(path, rows):
    """Writes dicts as CSV, under all names in the order in which they come."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    write_csv(path, [names, *([row.get(name) for name in names] for row in rows)])


def changes(before, now):
    """What differs between two nested dicts that came from files, for people: "seed 1, now 2"; "" if nothing does."""
    before, now = _flat(before), _flat(now)
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    found = [f"{name} {before.get(name)!r}, now {now.get(name)!r}" for name in names]
    more = [f"and {len(found) - _TOLD} more"] if len(found) > _TOLD else []
    return ", ".join(found[:_TOLD] + more)


def _flat(nested, path=""):
    if not isinstance(nested, dict):
        return {path: nested}
    parts = [_flat(value, f"{path}.{name}" if path else name) for name, value in nested.items()]
    return {name: value for part in parts for name, value in part.items()}
