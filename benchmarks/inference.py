"""Time of inference at batch 1, 8 and 32: python -m benchmarks.inference [densenet121]."""

import sys

from benchmarks.race import race, show

if __name__ == "__main__":
    for network in sys.argv[1:] or ["densenet121"]:
        for batch_size in (1, 8, 32):
            rows = race("infer", network, batch_size, rounds=15 if batch_size < 32 else 7)
            show(f"inference, {network}, batch {batch_size}", rows)
