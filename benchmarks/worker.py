"""One contestant in a process of its own: python -m benchmarks.worker TASK CONTESTANT PLAN BATCH_SIZE POLICY.

PLAN is the JSON of what `contestants` calls a plan. Every line on standard input is answered with a line of JSON:
"step" as often as asked, then "end".
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
import types


def main():
    task, contestant, plan, batch_size, policy = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print does not mix with the answers
    from benchmarks.contestants import TASKS

    step = TASKS[task][contestant](types.SimpleNamespace(**json.loads(plan)), int(batch_size), policy)
    for index, line in enumerate(sys.stdin):
        before = time.perf_counter()
        if line.strip() == "end":
            peak_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            answer = {"peak_rss": peak_rss, "peak_gpu": _on_gpu("peak")}
        else:
            step()
            answer = {"seconds": time.perf_counter() - before}
            if index == 0:
                _return_memory()
                _on_gpu("reset")
        out.write(json.dumps(answer) + "\n")


def _on_gpu(what):
    """Begins to count the most bytes that are allocated on the GPU, or tells them; None without a GPU."""
    if torch := sys.modules.get("torch"):
        memory = torch.cuda
        if not memory.is_available():
            return None
        return memory.max_memory_allocated() if what == "peak" else memory.reset_peak_memory_stats()
    import tensorflow as tf

    if not tf.config.list_physical_devices("GPU"):
        return None
    memory = tf.config.experimental
    return memory.get_memory_info("GPU:0")["peak"] if what == "peak" else memory.reset_memory_stats("GPU:0")


def _return_memory():
    """Gives the system back what compilation leaves: all contestants are to fit into memory at the same time."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU library's
    if trim:
        trim(0)


if __name__ == "__main__":
    main()
