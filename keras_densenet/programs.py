"""What XLA has compiled, kept in a folder for the next process that asks for the same program."""

import contextlib
import os
import pathlib
import shutil

from keras_densenet.types import Path

LIMIT = 4 * 2**30  # bytes; a training step of DenseNet-121 has 20 MB
_MACHINE = ("/proc/cpuinfo", "/proc/driver/nvidia/version", "/proc/driver/nvidia/gpus/*/information")
_CHANGES = ("MHz", "bogomips", "processor", "apicid", "core id", "UUID", "Bus", "Minor", "Regis")


def keep_programs(folder: Path | None = None) -> pathlib.Path | None:
    """Lets XLA keep its programs for other processes, if TensorFlow has not started yet.

    A program is found again for the same computation, shapes, versions of TensorFlow, flags and kind of processors. The
    folder is kept below 4 GiB: what was used longest ago goes first. Nothing is kept where it cannot be written to.

    Args:
        folder: where. Default: what `KERAS_DENSENET_CACHE` says; without it, nothing is kept.

    Returns:
        The folder of this machine's programs, None where none are kept.

    Examples:
        >>> keep_programs("") is None
        True
    """
    folder = os.environ.get("KERAS_DENSENET_CACHE", "") if folder is None else folder
    flags = os.environ.get("TF_XLA_FLAGS", "")
    if not str(folder) or "persistent_cache" in flags:
        return None
    programs = pathlib.Path(folder).expanduser() / "programs" / _kind_of_machine()
    try:
        programs.mkdir(parents=True, exist_ok=True)
        if not os.access(programs, os.W_OK) or shutil.disk_usage(programs).free < LIMIT:
            return None  # TensorFlow would end where it cannot write
        _prune(programs.parent)
    except OSError:
        return None
    os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_persistent_cache_directory={programs}".strip()
    return programs


def _kind_of_machine():
    """A name for all machines that a program runs on as it does here; what it is compiled with counts, too."""
    import hashlib
    import importlib.metadata

    said = [importlib.metadata.version("tensorflow"), os.environ.get("XLA_FLAGS", ""), len(os.sched_getaffinity(0))]
    for pattern in _MACHINE:
        for path in sorted(pathlib.Path("/").glob(pattern[1:])):
            lines = path.read_text(errors="replace").splitlines()
            said += sorted({line for line in lines if not any(word in line for word in _CHANGES)})
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _prune(folder):
    """Deletes what was used longest ago until the rest is below the limit."""
    found = [(path, path.stat()) for path in folder.rglob("*.pb")]
    found.sort(key=lambda one: max(one[1].st_atime, one[1].st_mtime), reverse=True)
    size = 0
    for path, about in found:
        size += about.st_size
        if size > LIMIT or not about.st_size:
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                path.unlink()
