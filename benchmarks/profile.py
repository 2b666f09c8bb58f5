"""Where one compiled training step spends its time: python -m benchmarks.profile [densenet121] [densenet-bc-100-12].

Two minutes each. The profiler has an event for every kernel of the XLA program. In it, convolutions and large products
for gradients of kernels only start; they run on in a pool, and theirs is the rest of the step, under "convolution".
"""

import collections
import pathlib
import tempfile
import time
import types

import rich.table

from benchmarks.contestants import TRAIN
from benchmarks.race import console, machine, networks, plan_of, save

STEPS = 3


def profile(network, batch_size):
    """Milliseconds of one step by kind of kernel: `(milliseconds of the step, {kind: (milliseconds, kernels)})`."""
    import tensorflow as tf

    step = TRAIN["keras_densenet, XLA"](types.SimpleNamespace(**plan_of(network)), batch_size, "float32")
    step(), step()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        total = (time.perf_counter() - started) / STEPS * 1e3
        tf.profiler.experimental.stop()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        found = _by_kind(file.read_bytes())
    found["convolution"] = total - sum(milliseconds for milliseconds, _ in found.values()), found["convolution"][1]
    return total, found


def _by_kind(data):
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    planes = {plane.name: plane for plane in xplane_pb2.XSpace.FromString(data).planes}
    kinds, found = _kinds(planes["/host:metadata"]), collections.defaultdict(lambda: [0, 0])
    host = planes["/host:CPU"]
    for event in (event for line in host.lines for event in line.events):
        kind = kinds.get(host.event_metadata[event.metadata_id].name)
        if kind not in (None, "while", "call") and any(_is_kernel(stat, host) for stat in event.stats):
            found[kind][0] += event.duration_ps / 1e9 / STEPS
            found[kind][1] += 1 / STEPS
    return found


def _is_kernel(stat, plane):
    return plane.stat_metadata[stat.metadata_id].name == "hlo_op"


def _kinds(metadata):
    """The kind of every instruction in the program: its opcode, that of its root for a fusion, "sum" for reductions."""
    from tensorflow.compiler.xla.service import hlo_pb2

    found = {}
    for stat in (stat for event in metadata.event_metadata.values() for stat in event.stats):
        computations = hlo_pb2.HloProto.FromString(stat.bytes_value).hlo_module.computations
        roots = {c.id: next(i.opcode for i in c.instructions if i.id == c.root_id) for c in computations}
        for instruction in (instruction for c in computations for instruction in c.instructions):
            kind = instruction.opcode
            if kind == "fusion":
                kind = f"fusion with {roots[instruction.called_computation_ids[0]]}"
            found[instruction.name] = "sum" if "reduce" in kind else kind
    return found


def show(network, batch_size):
    """Prints the profile as a table and writes it to `results/profile, <network>.csv`."""
    total, found = profile(network, batch_size)
    table = rich.table.Table("kind", "ms", "share", "kernels", title=f"training step, {network}, batch {batch_size}")
    rows = []
    for kind, (milliseconds, count) in sorted(found.items(), key=lambda item: -item[1][0]):
        rows.append({"kind": kind, "milliseconds": round(milliseconds, 2), "kernels": round(count)})
        if milliseconds > 1:
            table.add_row(kind, f"{milliseconds:.0f}", f"{milliseconds / total:.0%}", f"{count:.0f}")
    products = found["dot"][0] + found["convolution"][0]
    caption = f"the step takes {total:.0f} ms, {total / products:.2f}x of its products and convolutions"
    console.print(table, f"{caption}. {machine()}")
    save(f"profile, {network}, batch {batch_size}", rows)


if __name__ == "__main__":
    for network, batch_size in networks():
        show(network, batch_size)
