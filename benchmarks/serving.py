"""Serving DenseNet-121: python -m benchmarks.serving. Two minutes; --markdown: the last run as docs/serving.md has it.

Times the export and TensorFlow's C loader; then, in turns, the folded export and the one that `keras.applications`'
own `export()` writes, at batch 1 and 8; then a load test over gRPC on the loopback interface, with concurrent clients.
"""

import collections
import concurrent.futures
import csv
import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet.serving import NativeModel, connect
from tests.serving.server import Server

TITLE = "serving, densenet121"
ROUNDS = {1: 31, 8: 11}
CLIENTS, REQUESTS = 2, 100


def main():
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as base:
        model, ordinary = kd.DenseNet121(), keras.applications.DenseNet121(weights=None)
        ours, export = _timed(kd.export_saved_model, model, base, "densenet121")
        _, ordinary_export = _timed(ordinary.export, f"{base}/ordinary", verbose=False)
        rows, natives = [], {}
        exports = ("keras_densenet folded", ours, export), ("ordinary Keras", f"{base}/ordinary", ordinary_export)
        for name, folder, seconds in exports:
            natives[name], load = _timed(NativeModel, folder)
            kinds = natives[name].operations
            rows.append(
                {"name": name, "export, s": seconds, "load, s": load, "operations": kinds.total(), "kinds": len(kinds)}
            )
        for batch_size, rounds in ROUNDS.items():
            for row, seconds in zip(rows, _race(natives, images[:batch_size], rounds), strict=True):
                row[f"batch {batch_size}, s"] = seconds
        with Server(base, "densenet121", max_bytes=-1) as server:
            rows[0] |= _load_test(server.grpc_url, images[:1].astype("uint8"))
    _show(rows)
    save(TITLE, [dict.fromkeys(rows[0], "") | row for row in rows])


def _timed(function, *args, **options):
    before = time.perf_counter()
    found = function(*args, **options)
    return found, time.perf_counter() - before


def _race(natives, images, rounds):
    """Median seconds of each model, the two taking turns."""
    seconds = collections.defaultdict(list)
    for turn in range(rounds + 1):
        for name, native in natives.items():
            (given,) = native.signatures["serving_default"].inputs
            _, time_taken = _timed(native.run, "serving_default", {given: images})
            if turn:
                seconds[name].append(time_taken)
    return [statistics.median(seconds[name]) for name in natives]


def _load_test(url, image):
    def ask(number):
        client = connect(url)
        return [_timed(client.predict, "serving_uint8", {"image": image})[1] for _ in range(REQUESTS // CLIENTS)]

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers, total = _timed(lambda: [seconds for each in pool.map(ask, range(CLIENTS)) for seconds in each])
    p50, p99 = np.quantile(answers, [0.5, 0.99])
    return {"p50, s": p50, "p99, s": p99, "images/s": len(answers) / total}


def _show(rows):
    table = rich.table.Table("", *(row["name"] for row in rows), title="DenseNet-121, served")
    for key in rows[0]:
        if key != "name":
            table.add_row(key, *(f"{row[key]:,.3g}" if key in row else "" for row in rows))
    console.print(table)
    for batch_size in ROUNDS:
        ours, ordinary = (row[f"batch {batch_size}, s"] for row in rows)
        console.print(f"batch {batch_size}: {ordinary / ours:.2f}x the throughput of ordinary Keras")
    console.print(
        f"p50 and p99: {CLIENTS} clients over gRPC on loopback, {REQUESTS} requests of one image. {machine()}"
    )


def markdown():
    """The last run's figures, as docs/serving.md has them."""
    with open(RESULTS / f"{TITLE}.csv", newline="") as file:
        about = file.readline().strip("# \n")
        ours, ordinary = csv.DictReader(file)
    lines = ["| | export | loading | operations | batch 1 | batch 8 |", "|---|---|---|---|---|---|"]
    for row in (ours, ordinary):
        export, load, *steps = (float(row[f"{key}, s"]) for key in ("export", "load", "batch 1", "batch 8"))
        figures = [row["name"], f"{export:.1f} s", f"{load:.2f} s", f"{int(row['operations']):,}"]
        lines.append(f"| {' | '.join([*figures, *(f'{1000 * step:.0f} ms' for step in steps)])} |")
    gains = [float(ordinary[key]) / float(ours[key]) for key in ("batch 1, s", "batch 8, s")]
    p50, p99 = (1000 * float(ours[f"{name}, s"]) for name in ("p50", "p99"))
    text = (
        f"That is {gains[0]:.2f}x the throughput at batch 1, {gains[1]:.2f}x at batch 8. Where {CLIENTS} clients send "
        f"one image after another over gRPC\non loopback, one waits {p50:.0f} ms for its answer (median; 99 %: "
        f"{p99:.0f} ms), and {float(ours['images/s']):.0f} images per second are answered. {about.split(';')[0]}."
    )
    return "\n".join([*lines, "", text])


if __name__ == "__main__":
    if sys.argv[1:] == ["--markdown"]:
        print(markdown())
    else:
        main()
