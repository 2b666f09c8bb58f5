"""Training and inference on a GPU: python -m benchmarks.gpu [densenet121] [--batch 128] [--policy mixed_bfloat16].

Needs a GPU that TensorFlow sees, its memory to itself (60 GB for 128 images), and a core for each of six programs that
compile side by side in at most seven minutes; torch with torchvision takes part where it is installed. Ten minutes.
"""

import subprocess
import sys
from typing import Annotated

import typer

from benchmarks.race import console, race, save, table

TRAIN = ["keras_densenet, XLA", "keras_densenet", "ordinary Keras, XLA", "ordinary Keras"]
INFER = ["keras_densenet folded, XLA", "keras_densenet folded", "ordinary Keras, XLA", "ordinary Keras"]
TORCH = ["torchvision eager", "torchvision compiled"]
_NAME = """
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
print(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU") if gpus else "")
"""


def gpu():
    """The name of the GPU that TensorFlow sees, in a process that is over when the race begins; "" without one."""
    done = subprocess.run([sys.executable, "-c", _NAME], capture_output=True, text=True, timeout=300)
    return done.stdout.strip()


def main(
    network: Annotated[str, typer.Argument(help="A name from `keras-densenet models`.")] = "densenet121",
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 128,
    policy: Annotated[str, typer.Option(help="Keras' dtype policy, and torch's autocast.")] = "mixed_bfloat16",
):
    """Time and memory of a training step and of inference on a GPU, this package and its peers in turns."""
    card = gpu()
    if not card:
        console.print(
            "benchmarks.gpu needs a GPU that TensorFlow sees; there is none, or TensorFlow was built without CUDA"
        )
        raise typer.Exit(1)
    for task, names in (("train", TRAIN), ("infer", INFER)):
        rows = race(task, network, batch, rounds=21, only=[*names, *TORCH], policy=policy, together=420)
        title = f"gpu, {task}, {network}, batch {batch}, {policy}"
        for row in rows:
            row["card"] = card
        table(f"{title}, {card}", rows)
        save(title, rows)


if __name__ == "__main__":
    typer.run(main)
