"""Where time goes: python -m benchmarks.profile [--no-xla | --inference] [densenet121] [densenet-bc-100-12].

One compiled training step, two minutes each: the profiler has an event for every kernel of the XLA program. In it,
convolutions and large products for gradients of kernels only start; they run on in a pool, and theirs is the rest of
the step, under "convolution". With --no-xla, a step by TensorFlow's kernels, by operation; several run at once, so that
their sum is more than the step. With --inference, one answer of the folded network without XLA, as TensorFlow's session
has optimised it for this processor, at batch 1 and 8.
"""

import collections
import pathlib
import statistics
import sys
import tempfile
import time
import types

import rich.table

from benchmarks.contestants import TRAIN
from benchmarks.race import console, machine, networks, plan_of, save

STEPS = 3
ANSWERS = 15
CALLS = "PartitionedCall", "StatefulPartitionedCall", "While", "If"  # which contain the others


def profile(network, batch_size, xla=True):
    """Milliseconds of one step by kind of kernel: `(milliseconds of the step, {kind: (milliseconds, kernels)})`."""
    import tensorflow as tf

    step = TRAIN["keras_densenet, XLA" if xla else "keras_densenet"](
        types.SimpleNamespace(**plan_of(network)), batch_size, "float32"
    )
    step(), step()
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        started = time.perf_counter()
        for _ in range(STEPS):
            step()
        total = (time.perf_counter() - started) / STEPS * 1e3
        tf.profiler.experimental.stop()
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        found = (_by_kind if xla else _by_operation)(file.read_bytes())
    if not xla:
        return total, found
    found["convolution"] = total - sum(milliseconds for milliseconds, _ in found.values()), found["convolution"][1]
    return total, found


def profile_inference(network, batch_size):
    """The same of one answer of the network that is exported, by operation."""
    import numpy as np
    import tensorflow as tf

    import keras_densenet as kd
    from benchmarks.serving import as_trained
    from keras_densenet.serving.graph import constant

    model = kd.fold(as_trained(kd.create_model(network)))
    images = np.random.default_rng(0).normal(size=(batch_size, *model.input_shape[1:])).astype("float32")
    function = tf.function(constant(model), [tf.TensorSpec((None, *model.input_shape[1:]))]).get_concrete_function()
    found, seconds, v1 = collections.defaultdict(lambda: [0, 0]), [], tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(function.graph.as_graph_def(), name="")
        (given,), (answer,) = ([tensor.name for tensor in end] for end in (function.inputs, function.outputs))
        session.run(answer, {given: images})
        for _ in range(ANSWERS):
            started = time.perf_counter()
            session.run(answer, {given: images})
            seconds.append(time.perf_counter() - started)
        options = v1.RunOptions(trace_level=v1.RunOptions.FULL_TRACE, output_partition_graphs=True)
        for _ in range(STEPS):
            told = v1.RunMetadata()
            session.run(answer, {given: images}, options=options, run_metadata=told)
            kinds = {node.name: node.op for graph in told.partition_graphs for node in graph.node}
            for event in (event for device in told.step_stats.dev_stats for event in device.node_stats):
                kind = kinds.get(event.node_name, "others")
                found[kind][0] += event.all_end_rel_micros / 1e3 / STEPS
                found[kind][1] += 1 / STEPS
    return statistics.median(seconds) * 1e3, found


def _planes(data):
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    return {plane.name: plane for plane in xplane_pb2.XSpace.FromString(data).planes}


def _by_operation(data):
    """Of TensorFlow's kernels: the name of such an event is that of the operation, and its type."""
    host, found = _planes(data)["/host:CPU"], collections.defaultdict(lambda: [0, 0])
    for event in (event for line in host.lines for event in line.events):
        _, colon, kind = host.event_metadata[event.metadata_id].name.partition(":")
        if colon and kind.isidentifier() and kind not in CALLS:
            found[kind][0] += event.duration_ps / 1e9 / STEPS
            found[kind][1] += 1 / STEPS
    return found


def _by_kind(data):
    planes = _planes(data)
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


def show(network, batch_size, mode=""):
    """Prints the profile as a table and writes it to `results/profile, <mode, network>.csv`."""
    inference = mode == "inference"
    total, found = profile_inference(network, batch_size) if inference else profile(network, batch_size, not mode)
    what = "answer" if inference else f"training step {mode}".strip()
    table = rich.table.Table("kind", "ms", "share", "kernels", title=f"{what}, {network}, batch {batch_size}")
    rows = []
    for kind, (milliseconds, count) in sorted(found.items(), key=lambda item: -item[1][0]):
        rows.append({"kind": kind, "milliseconds": round(milliseconds, 2), "kernels": round(count)})
        if milliseconds > 1:
            table.add_row(kind, f"{milliseconds:.0f}", f"{milliseconds / total:.0%}", f"{count:.0f}")
    products = sum(
        milliseconds
        for kind, (milliseconds, _) in found.items()
        if kind in ("dot", "convolution") or "Conv2D" in kind or "MatMul" in kind
    )
    caption = f"it takes {total:.0f} ms, {total / products:.2f}x of its products and convolutions"
    console.print(table, f"{caption}. {machine()}")
    save(f"profile, {mode + ', ' if mode else ''}{network}, batch {batch_size}", rows)


if __name__ == "__main__":
    modes = {"--no-xla": "without XLA", "--inference": "inference"}
    mode = next((modes[argument] for argument in sys.argv if argument in modes), "")
    sys.argv = [argument for argument in sys.argv if argument not in modes]
    for network, batch_size in networks():
        for size in (1, 8) if mode == "inference" else (batch_size,):
            show(network, size, mode)
