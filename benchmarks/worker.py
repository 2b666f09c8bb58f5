"""One contestant in a process of its own: python -m benchmarks.worker TASK CONTESTANT PLAN BATCH_SIZE.

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
    task, contestant, plan, batch_size = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever libraries print does not mix with the answers
    from benchmarks.contestants import TASKS

    step = TASKS[task][contestant](types.SimpleNamespace(**json.loads(plan)), int(batch_size))
    for index, line in enumerate(sys.stdin):
        before = time.perf_counter()
        if line.strip() == "end":
            answer = {"peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
        else:
            step()
            answer = {"seconds": time.perf_counter() - before}
            if index == 0:
                _return_memory()
        out.write(json.dumps(answer) + "\n")


def _return_memory():
    """Gives the system back what compilation leaves: all contestants are to fit into memory at the same time."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU library's
    if trim:
        trim(0)


if __name__ == "__main__":
    main()
