"""Times contestants against each other: each in its own process, taking turns in one run."""

import concurrent.futures
import contextlib
import csv
import dataclasses
import datetime
import functools
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile

import rich.console
import rich.progress
import rich.table

from benchmarks.contestants import TASKS, TORCH_PYTHON, environment, python_of
from keras_densenet_launch import quiet

with quiet("test"):
    from keras_densenet import Architecture
    from keras_densenet.family import variant

RESULTS = pathlib.Path(os.environ.get("BENCHMARKS_RESULTS") or pathlib.Path(__file__).parent / "results")
ROUNDS = int(os.environ.get("BENCHMARKS_ROUNDS") or sys.maxsize)  # at most
console = rich.console.Console(width=150)


def race(task, network, batch_size, rounds, only=(), policy="float32", together=None, programs=""):
    """Runs all installed contestants in turns; who fails or is late is told and left out, unless nobody else is there.

    Args:
        task: "train" or "infer".
        network: a name from `list_models()`, or a dict of `DenseNet` arguments with a name.
        batch_size: images in a batch.
        rounds: timed steps of each, after one that compiles and one that warms up.
        only: names of the contestants, if not all.
        policy: Keras' dtype policy.
        together: seconds in which all compile at the same time, where there are many cores; first calls then mean
            little. Default: one after another.
        programs: the folder where this package keeps compiled programs. Default: nowhere.

    Returns:
        A list of dicts, one per contestant: median seconds, spread of the middle half, first_call, peak_rss, on a GPU
        peak_gpu, and of an XLA program the seconds of its compilation and the bytes of its temporary buffers.
    """
    pythons = {name: python_of(name) for name in TASKS[task] if not only or name in only}
    names = [name for name, python in pythons.items() if python]
    if lacking := [name for name in pythons if name not in names]:
        console.print(f"not installed, and left out: {', '.join(lacking)}", style="yellow")
    plan, workers, rounds = plan_of(network), {}, min(rounds, ROUNDS)
    with rich.progress.Progress(console=console, transient=True) as bar, tempfile.TemporaryDirectory() as folder:
        todo = bar.add_task(f"{task} {plan['name']} batch {batch_size}", total=len(names) * (rounds + 2))

        def tell(name, what):
            workers[name].stdin.write(what + "\n")
            workers[name].stdin.flush()

        def ask(name, what=None):
            if what is not None:
                tell(name, what)
            answer = workers[name].stdout.readline()
            bar.advance(todo)
            if not answer:
                raise RuntimeError(f"{name} is left out on {plan['name']}: {_log(folder, name)[-2000:]}")
            return json.loads(answer)

        @contextlib.contextmanager
        def left_out(name):
            try:
                yield
            except (RuntimeError, BrokenPipeError) as error:
                console.print(str(error), style="red", markup=False)
                first.pop(name, None)

        try:
            row = {"task": task, "network": plan["name"], "batch": batch_size, "policy": policy}
            first, seconds = {}, {name: [] for name in names}
            for name in names:
                with open(_log_file(folder, name), "w") as log:
                    arguments = [task, name, json.dumps(plan), str(batch_size), policy]
                    workers[name] = subprocess.Popen(
                        [pythons[name], "-m", "benchmarks.worker", *arguments],
                        env={**environment(name), **_TELL_COMPILATION, "KERAS_DENSENET_CACHE": programs},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                    )
                tell(name, "step")
                if together is None:
                    with left_out(name):
                        first[name] = ask(name)["seconds"]
            if together is not None:
                with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
                    asked = {name: pool.submit(ask, name) for name in names}
                    concurrent.futures.wait(asked.values(), together)
                    for name, answer in asked.items():
                        if not answer.done():
                            workers[name].kill()  # which ends its thread, too
                        with left_out(name):
                            first[name] = answer.result()["seconds"]
            for _ in range(rounds + 1):
                for name in list(first):
                    with left_out(name):
                        seconds[name].append(ask(name, "step")["seconds"])
            rows = [{**row, "name": name, "first_call": first[name]} for name in first]
            if not rows:
                raise RuntimeError(f"Nobody ran {plan['name']}")
            for row in rows:
                times = seconds[row["name"]][1:]
                low, _, high = statistics.quantiles(times, n=4)
                row.update(seconds=statistics.median(times), spread=high - low, **ask(row["name"], "end"))
                row.update(_compilation(_log(folder, row["name"])))
        finally:
            for worker in workers.values():
                worker.kill()
                worker.wait()
    return rows


_TELL_COMPILATION = {
    "TF_CPP_MIN_LOG_LEVEL": "0",
    "TF_CPP_VMODULE": "device_compilation_profiler=1,buffer_assignment=1",
}


def _log_file(folder, name):
    return pathlib.Path(folder, name.replace("/", "-"))


def _log(folder, name):
    return _log_file(folder, name).read_text(errors="replace")


def _compilation(log):
    """Seconds of compilation and bytes of temporary buffers that XLA tells of its largest program."""
    compiled = re.findall(r"compile time: (\d+) us", log)
    buffers = re.findall(r"Combined temp allocation .* size (\d+), preallocated-temp", log)
    return {
        "compilation": max(map(int, compiled)) / 1e6 if compiled else None,
        "buffers": max(map(int, buffers)) if buffers else None,
    }


def networks():
    """The networks on the command line, else one of ImageNet and one of CIFAR, each with the images of a batch."""
    for network in sys.argv[1:] or ["densenet121", "densenet-bc-100-12"]:
        yield network, 64 if "-" in network else 8


def plan_of(network):
    """A network's plan: the fields of its `Architecture`, and its name."""
    arguments = {"name": network, **variant(network)} if isinstance(network, str) else dict(network)
    name = arguments.pop("name")
    return {"name": name, **dataclasses.asdict(Architecture.plan(**arguments))}


def show(title, rows):
    """Prints a table of what `race` found, and writes it to `results/<title>.csv` and `.png`."""
    caption = table(title, rows)
    save(title, rows)
    _draw(title, rows, caption)


def table(title, rows):
    """Prints a table of what `race` found, whose rows get their speed; returns what it says of the machine."""
    peers = [row["seconds"] for row in rows if row["name"].startswith("ordinary Keras")]
    memory = "peak_gpu" if rows[0].get("peak_gpu") else "peak_rss"
    heads = "contestant", "median", "spread", "speed", "first call", "compilation", "buffers"
    found = rich.table.Table(*heads, "peak on the GPU" if memory == "peak_gpu" else "peak RSS", title=title)
    for row in rows:
        row["speed"] = min(peers, default=float("nan")) / row["seconds"]
        found.add_row(
            row["name"],
            f"{row['seconds']:.4f} s",
            f"{row['spread']:.4f} s",
            f"{row['speed']:.2f}x",
            f"{row['first_call']:.0f} s",
            f"{row['compilation']:.0f} s" if row["compilation"] else "",
            f"{row['buffers'] / 1e6:,.0f} MB" if row["buffers"] else "",
            f"{row[memory] / 1e6:,.0f} MB",
        )
    console.print(found, caption := f"speed: against the faster mode of ordinary Keras. {machine()}")
    return caption


def save(title, rows):
    """Writes rows to `results/<title>.csv`, the machine with them."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"{title}.csv", "w", newline="") as file:
        file.write(f"# {machine()}\n")
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def read(title):
    """What `save` wrote: `(the machine, rows)`; figures are floats, None where there is none."""
    with open(RESULTS / f"{title}.csv", newline="") as file:
        about = file.readline().strip("# \n")
        return about, [{name: _figure(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _figure(cell):
    try:
        return float(cell)
    except ValueError:
        return cell or None


def machine():
    """The machine and the versions in one line."""
    text = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    model = next((line.split(":")[1].strip() for line in text.splitlines() if "model name" in line), platform.machine())
    here = _versions(sys.executable, "tensorflow", "keras", "onnxruntime", "openvino")
    versions = ", ".join([*here, *_versions(TORCH_PYTHON, "torch", "monai")])
    return f"{datetime.date.today()}, {model}, {len(os.sched_getaffinity(0))} cores and threads; {versions}"


@functools.cache
def _versions(python, *names):
    """The installed ones of packages of a Python, with their versions."""
    told = "[print(name, version(name)) for name in sys.argv[1:] if find_spec(name)]"
    script = f"import sys; from importlib.metadata import version; from importlib.util import find_spec; {told}"
    return subprocess.run([python, "-c", script, *names], capture_output=True, text=True).stdout.splitlines()


def _draw(title, rows, caption):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.6 + 0.5 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    ours = ["tab:blue" if row["name"].startswith("keras_densenet") else "silver" for row in rows]
    axes.barh([row["name"] for row in rows], [row["seconds"] for row in rows], color=ours)
    axes.bar_label(axes.containers[0], fmt="%.2f s", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(f"seconds per step, median\n{caption}", fontsize=7)
    axes.set_title(title)
    figure.savefig(RESULTS / f"{title}.png", dpi=110)
