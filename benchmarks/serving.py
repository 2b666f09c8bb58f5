"""Serving DenseNet-121: python -m benchmarks.serving. Five minutes; --markdown: the last run as docs/serving.md has it.

Times the export and TensorFlow's C loader; then, in turns, the folded export, the one that `keras.applications`' own
`export()` writes, and the network's ONNX and OpenVINO files where these are installed, at batch 1 and 8; then a load
test over gRPC on the loopback interface, with concurrent clients.
"""

import collections
import concurrent.futures
import csv
import importlib.util
import pathlib
import statistics
import sys
import tempfile
import time

import keras
import numpy as np
import rich.table

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet.serving import connect, export_file
from keras_densenet.serving.runtimes import EXPORTERS, RUNTIMES, loaded
from tests.serving.server import Server

TITLE = "serving, densenet121"
ROUNDS = {1: 31, 8: 11}
CLIENTS, REQUESTS = 2, 100
PAUSE = 0.05  # seconds in which a runtime's threads that wait for more work fall asleep
FORMATS = {"onnx": "ONNX Runtime, export --format onnx", "openvino": "OpenVINO, export --format openvino"}


def main():
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3)).astype("float32")
    with tempfile.TemporaryDirectory() as base:
        exports = export_all(pathlib.Path(base))
        _show(rows := compare(base, exports, images))
    save(TITLE, [dict.fromkeys(rows[0], "") | row for row in rows])


def export_all(base):
    """Writes every export that the installed packages can: `{name: (folder, seconds)}`."""
    model = as_trained(kd.DenseNet121())
    ordinary = as_trained(keras.applications.DenseNet121(weights=None))
    folder, seconds = _timed(kd.export_saved_model, model, base, "densenet121")
    exports = {"keras_densenet folded": (folder, seconds)}
    _, seconds = _timed(lambda: ordinary.export(str(base / "ordinary"), verbose=False))
    exports["ordinary Keras"] = base / "ordinary", seconds
    for format, name in FORMATS.items():
        if all(map(importlib.util.find_spec, (EXPORTERS[format], RUNTIMES[format]))):
            (file, _), seconds = _timed(export_file, model, base, format, format)
            exports[name] = file.parent, seconds
    return exports


def as_trained(model):
    """Statistics as a trained network has them: scale 1 and shift 0 of a new one are optimised away."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name.endswith("gamma"):
            variable.assign(random.uniform(0.5, 1, variable.shape))
        elif variable.name.endswith("variance"):
            variable.assign(random.uniform(1, 1.5, variable.shape))
        elif variable.name.endswith(("beta", "mean")):
            variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def compare(base, exports, images):
    """A row for each export: how long it took and takes to load, operations, median seconds; ours under load, too."""
    rows, models = [], {}
    for name, (folder, seconds) in exports.items():
        models[name], load = _timed(loaded, folder)
        counted = models[name].operations
        row = {"name": name, "export, s": seconds, "load, s": load}
        rows.append({**row, "operations": counted.total(), "kinds": len(counted)})
    for batch_size, rounds in ROUNDS.items():
        for row, seconds in zip(rows, _race(models, images[:batch_size], rounds), strict=True):
            row[f"batch {batch_size}, s"] = seconds
    with Server(base, "densenet121", max_bytes=-1) as server:
        rows[0] |= _load_test(server.grpc_url, images[:1].astype("uint8"))
    return rows


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
            time.sleep(PAUSE)
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
        ours, ordinary = (row[f"batch {batch_size}, s"] for row in rows[:2])
        console.print(f"batch {batch_size}: {ordinary / ours:.2f}x the throughput of ordinary Keras")
    console.print(
        f"p50 and p99: {CLIENTS} clients over gRPC on loopback, {REQUESTS} requests of one image. {machine()}"
    )


def markdown():
    """The last run's figures, as docs/serving.md has them."""
    with open(RESULTS / f"{TITLE}.csv", newline="") as file:
        about = file.readline().strip("# \n")
        rows = list(csv.DictReader(file))
    ours, ordinary, *others = rows
    lines = ["| | export | loading | operations | batch 1 | batch 8 |", "|---|---|---|---|---|---|"]
    for row in rows:
        export, load, *steps = (float(row[f"{key}, s"]) for key in ("export", "load", "batch 1", "batch 8"))
        figures = [row["name"], f"{export:.1f} s", f"{load:.2f} s", f"{int(row['operations']):,}"]
        lines.append(f"| {' | '.join([*figures, *(f'{1000 * step:.0f} ms' for step in steps)])} |")
    gains = _gains(ordinary, ours)
    rest = "".join(f" {row['name'].split(',')[0]} has {' and '.join(_gains(ours, row))} ours." for row in others)
    p50, p99 = (1000 * float(ours[f"{name}, s"]) for name in ("p50", "p99"))
    text = (
        f"The folded export has {' and '.join(gains)} the throughput of ordinary Keras at batch 1 and 8.{rest}\n"
        f"Where {CLIENTS} clients send one image after another over gRPC on loopback, one waits {p50:.0f} ms for its "
        f"answer (median; 99 %: {p99:.0f} ms), and {float(ours['images/s']):.0f} images per second are answered. "
        f"{about.split(';')[0]}."
    )
    return "\n".join([*lines, "", text])


def _gains(slower, faster):
    return [f"{float(slower[key]) / float(faster[key]):.2f}x" for key in ("batch 1, s", "batch 8, s")]


if __name__ == "__main__":
    if sys.argv[1:] == ["--markdown"]:
        print(markdown())
    else:
        main()
