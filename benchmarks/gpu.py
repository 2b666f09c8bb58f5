"""Training and inference on a GPU: python -m benchmarks.gpu [densenet121] [--batch 128] [--policy mixed_bfloat16].

Of volumes: `--input-shape 96x96x96x1 --batch 2`, beside MONAI's network where it is installed.

Needs a GPU that TensorFlow sees, its memory to itself (60 GB for 128 images), and a core for each of six programs that
compile side by side in at most seven minutes; torch with torchvision takes part where it is installed. Ten minutes.
"""

import subprocess
import sys
from typing import Annotated

import typer

from benchmarks.race import console, race, save, table
from keras_densenet.family import variant

TRAIN = ["keras_densenet, XLA", "keras_densenet", "ordinary Keras, XLA", "ordinary Keras"]
INFER = ["keras_densenet folded, XLA", "keras_densenet folded", "ordinary Keras, XLA", "ordinary Keras"]
TASKS = {"train": TRAIN, "infer": INFER}
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
    input_shape: Annotated[str, typer.Option(help="Of an image or volume with its channels, such as 96x96x96x1.")] = "",
    tasks: Annotated[str, typer.Option(help="What to time.")] = "train infer",
    together: Annotated[float, typer.Option(help="Seconds in which all have to be compiled.")] = 420,
):
    """Time and memory of a training step and of inference on a GPU, this package and its peers in turns."""
    card = gpu()
    if not card:
        console.print(
            "benchmarks.gpu needs a GPU that TensorFlow sees; there is none, or TensorFlow was built without CUDA"
        )
        raise typer.Exit(1)
    plan = network
    if input_shape:
        shape = tuple(map(int, input_shape.split("x")))
        plan = {**variant(network), "input_shape": shape, "name": (network := f"{network}-{input_shape}")}
    for task in tasks.split():
        rows = race(task, plan, batch, 21, [*TASKS[task], *TORCH], policy, together)
        title = f"gpu, {task}, {network}, batch {batch}, {policy}"
        for row in rows:
            row["card"] = card
        table(f"{title}, {card}", rows)
        save(title, rows)


if __name__ == "__main__":
    typer.run(main)
