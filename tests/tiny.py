"""Networks small enough to compile and run in tests."""

import json
import os
import pathlib
import subprocess
import sys

import keras_densenet as kd

KINDS = {
    "plain": {"bottleneck": False, "theta": 1.0},
    "B": {"bottleneck": True, "theta": 1.0},
    "C": {"bottleneck": False, "theta": 0.5},
    "BC": {"bottleneck": True, "theta": 0.5},
}
# timm's deep stem has the pool that it has there, and is wide enough that no pool has to choose among equal numbers.
STEMS = {"imagenet": {}, "deep": {"stem_pool": "blur", "stem_channels": 16}, "cifar": {}}

ONE_POINT = {  # a space of one network; widen what is to be searched
    "blocks": [1],
    "growth_rate": 1,
    "theta": 0.5,
    "bottleneck": False,
    "dropout_rate": 0.0,
    "stem_channels": None,
    "learning_rate": 0.1,
    "weight_decay": 1e-4,
}
FAMILY = json.loads((pathlib.Path(__file__).parent / "data" / "family.json").read_text())
ROWS = {
    **{row["name"].lower().replace("_", "-"): row for row in FAMILY["imagenet"]},
    **{
        "-".join(["densenet", *([row["kind"].lower()] * (row["kind"] != "plain")), str(row["depth"])])
        + f"-{row['growth_rate']} {row['classes']}": row
        for row in FAMILY["cifar"]
    },
}


def arguments(kind="BC", stem="cifar", **others):
    """Arguments of a network with two blocks for images of 9x8 pixels (19x16 behind the ImageNet stem)."""
    size = (9, 8) if stem == "cifar" else (19, 16)
    network = {"blocks": (2, 1), "growth_rate": 3, "stem": stem, "input_shape": (*size, 3), "classes": 5}
    return {**network, **STEMS.get(stem, {}), **KINDS[kind], **others}


def network(kind="BC", stem="cifar", **others):
    """The network of `arguments`."""
    return kd.DenseNet(**arguments(kind, stem, **others))


def run_fresh(script, *args):
    """Runs Python source in a process of its own; raises with its output if it fails."""
    command = [sys.executable, "-c", script, *map(str, args)]
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}  # on a GPU, float32 is compared as such
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
