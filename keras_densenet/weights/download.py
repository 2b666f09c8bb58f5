"""Fetches published checkpoints; what is damaged never stays in a cache."""

import contextlib
import hashlib
import os
import pathlib
import re
import socket

import keras

from keras_densenet.files import written_beside

TIMEOUT = 30  # seconds without any data


def fetch(checkpoint):
    """Downloads a checkpoint, unless it is in the cache.

    The cache is `models` in `$KERAS_HOME` (`~/.keras`), where keras.applications looks too, and the Hugging Face hub's
    own (`$HF_HOME`) for what lies there.

    Args:
        checkpoint: a `Checkpoint`.

    Returns:
        The path of the file, a string.

    Raises:
        ImportError: if huggingface_hub is needed and not installed.
        OSError: if it cannot be had, or is damaged; names the URL, the cache and the way by hand.
    """
    return str((_from_hub if checkpoint.repository else _from_url)(checkpoint))


def _from_url(checkpoint):
    home = pathlib.Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    path = home / "models" / checkpoint.file
    if path.is_file() and _has_hash(path, checkpoint.hash):
        return path
    with _explained(checkpoint, path.parent), written_beside(path) as beside, _timeout():
        keras.utils.get_file(beside.name, checkpoint.url, cache_dir=str(beside.parent), cache_subdir="")
        if not _has_hash(beside, checkpoint.hash):
            raise OSError(f"the file that came does not have the published hash {checkpoint.hash}")
    return path


def _from_hub(checkpoint):
    try:
        from huggingface_hub import constants, hf_hub_download
    except ImportError:
        raise ImportError(
            f"{checkpoint.name} lies on the Hugging Face hub: pip install 'keras-densenet[weights]'"
        ) from None
    with _explained(checkpoint, constants.HF_HUB_CACHE):
        path = pathlib.Path(hf_hub_download(checkpoint.repository, checkpoint.file))
        blob = path.resolve()
        # The hub calls a large file by its SHA-256, but checks no more than its size.
        if re.fullmatch("[0-9a-f]{64}", blob.name) and not _has_hash(blob, f"sha256:{blob.name}"):
            path.unlink()
            blob.unlink()
            raise OSError(f"the file that came does not have the hub's SHA-256 {blob.name}")
    return path


def _has_hash(path, expected):
    if expected is None:  # not published; the client has compared the length
        return True
    algorithm, digits = expected.split(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest().startswith(digits)


@contextlib.contextmanager
def _explained(checkpoint, cache):
    try:
        yield
    except Exception as error:  # the two clients raise errors of several libraries
        reason = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        raise OSError(
            f"{checkpoint.name} could not be downloaded from {checkpoint.url} into {str(cache)!r}: {reason}. Fetch it "
            "with a browser and give the path of the file instead of the name"
        ) from error


@contextlib.contextmanager
def _timeout():
    """`keras.utils.get_file` has no time-out of its own and waits as long as any socket may."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
