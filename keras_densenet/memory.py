"""TensorFlow's memory on the CPU, kept from step to step."""

import os


def keep_memory():
    """Lets TensorFlow's CPU allocator keep what it has, if it has not started yet.

    Otherwise a compiled step gets its buffers from the system and gives them back, every time: a fifth of a step of
    DenseNet-121 went into page faults. What the environment says already is left alone.
    """
    os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "1")
    if hasattr(os, "sysconf"):  # TensorFlow's own limit is 64 GiB, whatever the machine has
        megabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
        os.environ.setdefault("TF_CPU_BFC_MEM_LIMIT_IN_MB", str(megabytes))
