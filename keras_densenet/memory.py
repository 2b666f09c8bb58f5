"""Memory: how much there is, kept by TensorFlow from step to step on the CPU, and given back after a training."""

import contextlib
import gc
import os
import pathlib


def keep_memory():
    """Lets TensorFlow's CPU allocator keep what it has, if it has not started yet.

    Otherwise a compiled step gets its buffers from the system and gives them back, every time: a fifth of a step of
    DenseNet-121 went into page faults. What the environment says already is left alone.
    """
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    if hasattr(os, "sysconf"):  # TensorFlow's own limit is 64 GiB, whatever the machine has
        megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(megabytes))


_GROUP = pathlib.Path("/sys/fs/cgroup")  # of a container, which psutil does not look at


def available() -> int:
    """Bytes that a training may take on each of this machine's devices: the smallest GPU's, without any the CPU's."""
    import psutil

    from keras_densenet.compat.tensorflow import memory_limits

    if limits := memory_limits("GPU"):
        return min(limits)
    found = psutil.virtual_memory().available
    with contextlib.suppress(OSError, ValueError):  # no such files, or no limit
        limit, used = (int((_GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        found = min(found, limit - used)
    return found


@contextlib.contextmanager
def given_back():
    """Gives back at the end of the block what models that were trained in it left behind.

    TensorFlow keeps the gradient of each `custom_gradient` that it ever traced in a global registry, and with it the
    whole graph and the network's weights.
    """
    import keras

    from keras_densenet.compat.tensorflow import custom_gradients, forget_gradients

    before = custom_gradients()
    try:
        yield
    finally:
        forget_gradients(custom_gradients() - before)
        keras.backend.clear_session(free_memory=False)
        gc.collect()
