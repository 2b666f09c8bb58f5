"""The tables of README and docs/, from the files in `benchmarks/results`: python -m benchmarks.tables train_step.

Likewise machines, contestants, intel, gpu, inference, growth, volumes, voxels, accuracy, search, front and halving.
"""

import math
import statistics
import sys

import scipy.stats

from benchmarks.growth import bend
from benchmarks.halving import gain
from benchmarks.race import RESULTS, read
from benchmarks.volumes import CHECKED, KNOWN, RACE, TITLE, extrapolated

TRAINED = {"densenet121": "densenet121, batch 8", "bc": "densenet-bc-100-12, batch 64"}
HEADS = {"densenet121": "DenseNet-121, 8 images of 224x224", "bc": "DenseNet-BC-100-12, 64 images of 32x32"}
INFERRED = {size: f"densenet121, batch {size}" for size in (1, 8, 32)}
TASKS = {"train": "training", "infer": "inference"}
RACES = "train step", "inference"
ON_A_GPU = {
    "training, 128 images of 224x224": ("train, densenet121", 128),
    "training, 2 volumes of 96x96x96": ("train, densenet121-96x96x96x1", 2),
    "inference, 128 images of 224x224": ("infer, densenet121", 128),
}
OURS = "keras_densenet, XLA"


def machines():
    """Speed and memory against the faster mode of ordinary Keras, on every machine that there are figures of."""
    found = [read(path.stem) for task in (*RACES, "gpu") for path in RESULTS.glob(f"{task}, *.csv")]
    found.sort(key=lambda one: (one[1][0]["task"] == "infer", one[1][0]["network"], one[1][0]["batch"]))
    yield from _head("machine", "", "keras_densenet", "ordinary Keras", "time", "memory")
    for about, rows in sorted(found, key=lambda one: one[0].split(";")[0], reverse=True):
        date, machine = about.split(";")[0].split(", ", 1)
        memory = "peak_gpu" if rows[0].get("card") else "buffers"
        what = f"{TASKS[rows[0]['task']]}, {rows[0]['network']}, batch {rows[0]['batch']:.0f}"
        sides = [[row for row in rows if row["name"].startswith(name)] for name in ("keras_densenet", "ordinary Keras")]
        times = [min(row["seconds"] for row in side) for side in sides]
        cells, ratios = [f"{time:.3f} s" for time in times], [f"{times[0] / times[1]:.2f}x", ""]
        if rows[0]["task"] == "train":
            sizes = [min(row[memory] for row in side if row[memory]) for side in sides]
            cells = [f"{cell}, {size / 1e6:,.0f} MB" for cell, size in zip(cells, sizes, strict=True)]
            ratios[1] = f"{sizes[0] / sizes[1]:.2f}x"
        yield _line(f"{rows[0].get('card', machine)} ({date})", what, *cells, *ratios)


def train_step():
    """Time and buffers of a training step, and how they compare, on two days."""
    about, found = _each("train step")
    compiled, starts = _each("compilation")
    for network, rows in starts.items():
        for name, row in rows.items():
            found[network][name].update(row)
    yield from _head("", *HEADS.values())
    for name in found["densenet121"]:
        yield _line(name, *(_step(rows[name]) for rows in found.values()))
    yield f"\n{about}. A step of this package under XLA takes, in the order of the columns,\n"
    yield from _comparisons(found)
    about, found = _each("train step, faster machine")
    first, faster = _date(compiled), _date(about)
    yield f"\nFirst calls are of {first}. The same machine was faster on {faster} (the version of that day):\n"
    yield from _comparisons(found)


def _each(title, suffixes=TRAINED):
    """-> (the machine, {network or batch size: {contestant: row}})."""
    about, found = None, {}
    for which, suffix in suffixes.items():
        about, rows = read(f"{title}, {suffix}")
        found[which] = {row["name"]: row for row in rows}
    return about, found


def _date(about):
    return about.split(",")[0]


def _comparisons(found):
    comparisons = {
        "the time of ordinary Keras' faster mode": ("seconds", ("ordinary Keras, XLA", "ordinary Keras")),
        "of ordinary Keras' faster mode, memory kept": (
            "seconds",
            ("ordinary Keras, XLA, kept memory", "ordinary Keras"),
        ),
        "of torchvision": ("seconds", ("torchvision eager",)),
        "of torchvision that keeps its memory": ("seconds", ("torchvision eager, kept memory",)),
        "the buffers of ordinary Keras under XLA": ("buffers", ("ordinary Keras, XLA",)),
        "its first call, tracing and compilation": ("first_call", ("ordinary Keras, XLA",)),
        "of that in the next process, which finds the program": ("next_call", ("ordinary Keras, XLA",)),
        "its compilation alone": ("compilation", ("ordinary Keras, XLA",)),
    }
    for what, (figure, others) in comparisons.items():
        if figure in found["densenet121"][OURS]:
            ratios = [rows[OURS][figure] / min(rows[other][figure] for other in others) for rows in found.values()]
            yield f"- {' and '.join(f'{ratio:.2f}x' for ratio in ratios)} {what}"


def inference():
    """Time of inference, and how it compares, on two days."""
    about, found = _each("inference", INFERRED)
    yield from _head("DenseNet-121, 224x224", *(f"batch {size}" for size in found))
    for name in found[8]:
        yield _line(name, *(f"{1000 * rows[name]['seconds']:.0f} ms" for rows in found.values()))
    yield f"\n{about}. The folded network's faster mode has, in the order of the columns,\n"
    yield from _gains(found)
    about, found = _each("inference, faster machine", INFERRED)
    yield f"\nThe same machine was faster on {_date(about)}:\n"
    yield from _gains(found)


def _gains(found):
    others = {"keras.applications'": "ordinary Keras", "ONNX Runtime's": "ONNX Runtime", "OpenVINO's": "OpenVINO"}
    for who, name in others.items():
        ratios = [_fastest(rows, name) / _fastest(rows, "keras_densenet") for rows in found.values()]
        yield f"- {', '.join(f'{ratio:.2f}x' for ratio in ratios)} {who} speed"


def _fastest(rows, start):
    return min(row["seconds"] for name, row in rows.items() if name.startswith(start))


def contestants(which=""):
    """All contestants; speeds are relative to the faster mode of ordinary Keras."""
    yield from _head("", "contestant", "time", "speed", "first call", "peak RSS")
    about = None
    for path in sorted((path for task in RACES for path in RESULTS.glob(f"{task}, {which}*.csv")), reverse=True):
        about, rows = read(path.stem)
        for row in rows:
            what = f"{TASKS[row['task']]}, {row['network']}, batch {row['batch']:.0f}" if row is rows[0] else ""
            figures = f"{row['first_call']:.0f} s", f"{row['peak_rss'] / 1e6:,.0f} MB"
            yield _line(what, row["name"], f"{row['seconds']:.3f} s", f"{row['speed']:.2f}x", *figures)
    yield f"\n{about}."


def intel():
    """All contestants on an Intel processor."""
    return contestants("Intel, ")


def gpu():
    """A training step of images and of volumes, and inference, on a GPU."""
    yield from _head("mixed_bfloat16", "contestant", "time", "peak on the GPU", "first call")
    abouts = {}
    for title, (what, batch) in ON_A_GPU.items():
        about, rows = read(f"gpu, {what}, batch {batch}, mixed_bfloat16")
        abouts[f"{rows[0]['card']}. {about}"] = None
        for row in rows:
            figures = f"{row['seconds'] * 1e3:.1f} ms", f"{row['peak_gpu'] / 1e6:,.0f} MB", f"{row['first_call']:.0f} s"
            yield _line(title if row is rows[0] else "", row["name"], *figures)
    yield f"\n{'; '.join(abouts)}."


def growth():
    """How a training step grows with depth and growth rate."""
    about, rows = read("growth")
    yield from _head("DenseNet-BC, batch 16", "time of a step", "buffers", "compilation")
    for row in rows:
        figures = f"{row['seconds']:.2f} s", f"{row['buffers'] / 1e6:,.0f} MB", f"{row['compilation']:.0f} s"
        yield _line(f"L={row['L']:.0f}, k={row['k']:.0f}: {row['name']}", *figures)
    yield ""
    shares = [f"{name}: {bend(rows, name):.0%}" for name in dict.fromkeys(row["name"] for row in rows)]
    yield f"Of the buffers' growth with L, a part proportional to L^2 makes {', '.join(shares)}. {about}."


def volumes():
    """A training step on volumes, and how large they can be."""
    edges = (RACE, *KNOWN, CHECKED)
    about, rows = read(TITLE.format(RACE))
    each = {edge: {row["name"]: row["buffers"] for row in read(TITLE.format(edge))[1]} for edge in edges}
    yield from _head("", "time of a step", "buffers", "peak RSS", "largest cube in 4 GB", "first call")
    found, off = {row["name"]: row for row in rows}, []
    for name, row in found.items():
        buffers, largest = "", ""
        if row["buffers"]:
            largest, deviation = extrapolated({edge: of[name] for edge, of in each.items()})
            buffers, largest, off = f"{row['buffers'] / 1e6:,.0f} MB", f"{largest}^3", [*off, f"{deviation:+.1%}"]
        figures = f"{row['seconds']:.2f} s", buffers, f"{row['peak_rss'] / 1e6:,.0f} MB", largest
        yield _line(name, *figures, f"{row['first_call']:.0f} s")
    time, buffers = (found[OURS][what] / found["ordinary Keras, XLA"][what] for what in ("seconds", "buffers"))
    yield (
        f"\n{time:.2f}x the time and {buffers:.2f}x the buffers of ordinary Keras under XLA. The largest cubes, one in "
        f"a batch, follow from the buffers at {' and '.join(f'{edge}^3' for edge in KNOWN)}; those at {CHECKED}^3 are "
        f"{' and '.join(off)} off what so follows. {about}."
    )


def voxels():
    """Digits found in noise."""
    found = [read(path.stem) for path in sorted(RESULTS.glob("digits in noise, *.csv"), reverse=True)]
    yield from _head("", "parameters", "MACs", "examples", "accuracy on held-out digits", "time", "processor time")
    for row in (row for _, rows in found for row in rows):
        size = f"{row['parameters']:,.0f}", f"{row['macs'] / 1e6:.1f} M", f"{row['train']:,.0f}"
        spent = f"{row['seconds']:.0f} s", f"{row['processor_seconds']:.0f} s"
        what = f"{row['task']}, {row['shape']}, seed {row['seed']:.0f}"
        yield _line(what, *size, f"{row['test_accuracy']:.1%} of {row['test']:.0f}", *spent)
    yield f"\nTimes are those of all that training takes, compilation and evaluation with it. {found[0][0]}."


def accuracy():
    """A DenseNet-BC and a ResNet after the same training on Fashion-MNIST."""
    about, rows = read("accuracy, fashion_mnist")
    yield from _head("", "parameters", "MACs", "time of a step", "training", "test accuracy")
    for row in rows:
        figures = f"{row['parameters']:,.0f}", f"{row['macs'] / 1e6:.1f} M", f"{row['milliseconds_per_step']:.0f} ms"
        yield _line(
            row["network"], *figures, f"{row['minutes_of_training']:.0f} minutes", f"{row['test_accuracy']:.2%}"
        )
    yield f"\n{about}."


def search():
    """The best network of a search and the published shape within the same budget, both with new seeds."""
    yield from _head("", "parameters", "MACs", "validation accuracy", "test accuracy")
    abouts = {}
    for path in sorted(RESULTS.glob("search, *, * parameters.csv")):
        data = ", ".join(path.stem.split(", ")[1:-1])
        about, rows = read(path.stem)
        abouts.setdefault(about, []).append(data)
        for row in (row for row in rows if row["status"] == "compared"):
            spread = f" +- {row['accuracy_spread']:.2%}" if row["accuracy_spread"] is not None else ""  # of one seed
            accuracy = f"{row['val_accuracy']:.2%}{spread}", f"{row['test_accuracy']:.2%}"
            yield _line(f"{data}: {row['trial']}", f"{row['parameters']:,.0f}", f"{row['macs'] / 1e6:.1f} M", *accuracy)
    yield "\n" + ". ".join(f"{' and '.join(each)}: {about}" for about, each in abouts.items()) + "."


def front():
    """The fronts of searches along accuracy and MACs against those of random search, over seeds, with 95% intervals."""
    about, rows = read("search, front, random against steered")
    yield from _head("", "random search", "--minimise macs", "ratio", "ratio at least")
    share = [[row[name] / row["most"] for row in rows] for name in ("random", "steered")]
    ratios = [row["ratio"] for row in rows]
    cells = [_interval(each, ".1%") for each in share]
    yield _line(f"hypervolume, {len(rows)} seeds", *cells, _interval(ratios, ".3f"), f"{min(ratios):.3f}")
    yield f"\nOf the hypervolume of the best front that there is. {about}."


def _interval(values, form):
    """The mean, and the half width of Student's 95% interval of it."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):{form}} +- {half:{form}}"


def halving():
    """ASHA and Hyperband on a closed form: what they cost and find, and ASHA in half of Hyperband's epochs."""
    yield from _head("", "Hyperband", "ASHA, 60 networks", "ASHA's best in half of Hyperband's epochs")
    about, rows = read("search, asha and hyperband")
    for networks in dict.fromkeys(row["networks"] for row in rows):
        found = [row for row in rows if row["networks"] == networks]
        cells = []
        for name in ("hyperband", "asha"):
            epochs, accuracy = (
                statistics.fmean(row[f"{name}_{what}"] for row in found) for what in ("epochs", "accuracy")
            )
            cells.append(f"{accuracy:.2%} in {epochs:.0f} epochs")
        mean, error = gain(found)
        yield _line(f"{networks}, {len(found)} seeds", *cells, f"{100 * mean:+.2f} (+- {100 * error:.2f}) points")
    yield f"\n{about}."


def _step(row):
    parts = [f"{row['seconds']:.2f} s"]
    if row["buffers"]:
        parts.append(f"{row['buffers'] / 1e6:,.0f} MB of buffers")
    return ", ".join(parts)


def _head(*cells):
    return _line(*cells), _line(*["---"] * len(cells))


def _line(*cells):
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


if __name__ == "__main__":
    tables = machines, contestants, intel, gpu, train_step, inference, growth, volumes, voxels, accuracy, search, front
    print("\n".join(next(table for table in (*tables, halving) if table.__name__ == sys.argv[1])()))
