"""Writing a SavedModel where TensorFlow Serving looks for it."""

import contextlib
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_densenet.files import locked, sweep, written_beside
from keras_densenet.names import visible
from keras_densenet.serving.agreement import NARROW, measured
from keras_densenet.serving.card import write_card
from keras_densenet.serving.configs import allowed_batch_sizes, write_configs
from keras_densenet.serving.graph import Served
from keras_densenet.serving.warmup import write_warmup
from keras_densenet.types import Array, Mode, Path


def export_saved_model(
    model: keras.Model,
    base_path: Path,
    name: str | None = None,
    version: int | None = None,
    labels: Sequence[str] | None = None,
    preprocessing: Mode | keras.Layer | None = None,
    top_k: int | None = None,
    *,
    levels: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    max_megapixels: float = 50,
    folded: bool = True,
    activation: str | None = None,
    xla: bool = False,
    precision: str | None = None,
    representative: Array | None = None,
    facts: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes `<base_path>/<name>/<version>/` completely beside and renames it: a polling server never sees half.

    The signatures, all with any batch size and for raw pixels (0..255 where `preprocessing` or the model says so):

    - `serving_default`: `image`, float32 `(batch, height, width, channels)` (or signals or volumes), to
      `probabilities` and `logits` `(batch, classes)`, `label` and `score` `(batch,)`, `top_labels` and `top_scores`
      `(batch, top_k)`; of a model that ends in a sigmoid also `positive` `(batch, classes)` and `top_positive`, bool:
      the probability reaches the label's threshold in `model.decisions`, or 0.5 where there are none;
    - `serving_uint8`: the same from bytes;
    - `image_bytes`: `image_bytes`, JPEG or PNG files `(batch,)`, to the same outputs and, per image, `ok` and
      `error`; a bad image leaves its own outputs empty. Only for images of 1 or 3 channels;
    - `features`: `image` to `embedding`, what the last `Dense` gets, and the `levels` that were asked for.

    Probabilities and logits are those after the temperature in `model.decisions`.

    Beside the graph lie warm-up requests, the labels, and `model_card.json`; in `base_path` the server's
    `models.config`, `batching.config` and `monitoring.config`, which are kept where they are there already.

    Args:
        model: a functional, or sequential and built Keras model from one image (or signal or volume) to a `Dense`
            classifier: a DenseNet, with other layers, tensor operations or models around it as you like.
        base_path: folder of all served models.
        name: of the model. Default: `model.name`.
        version: a whole number >= 1. Default: one more than the highest there.
        labels: names of the classes. Default: the model's, or their numbers.
        preprocessing: the mode of a `layers.Preprocess`, such as "torch", which also resizes to the model's size; or
            any Keras layer from raw pixels to what `model` takes. Default: `model.preprocessing`, what its weights
            were trained behind, if that is known and not in front of it yet; otherwise the model takes raw pixels.
        top_k: how many classes `top_labels` and `top_scores` have. Default: five, or all of many labels.
        levels: names from `model.pyramid_outputs`.
        size: `(height, width)` that files are resized to, for a model of any size; of volumes, the size that requests
            for warming up have. Default: the model's.
        max_megapixels: image files of more are refused before they are decoded.
        folded: whether to write the inference form that `fold` makes, which has the same outputs to rounding.
        activation: what makes probabilities of logits, "softmax" (an image has one class) or "sigmoid" (an image has
            any of the classes). Needed for a model that ends in the logits of several classes; those of one class get
            "sigmoid".
        xla: whether to have the server compile the network with XLA; its GPU image refuses such models.
        precision: what the folded network computes in and keeps its kernels in: "float32", "bfloat16" or "float16"; 16
            bits halve the kernels. Inputs and outputs, preprocessing and classifier are always float32. bfloat16 is
            2.5 to 3 times as fast as float32 on CPUs with AMX (`lscpu` says `amx_bf16`); on those with neither that nor
            `avx512_bf16`, 16 bits are slower than float32. Default: float32 (or float64), whatever the model was
            trained in.
        representative: raw images `(images, height, width, channels)` such as the model will see, on which 16 bits are
            compared with float32; at most 16 are kept with the export for `check_saved_model`. Default: made pictures.
        facts: a dict for the model card, such as where the weights come from and how accurate they are.

    Returns:
        The `pathlib.Path` of the version.

    Raises:
        ValueError: names the argument, what was received and what is allowed; also where 16 bits make less than 95 % of
            the decisions of float32, or probabilities that differ by more than 0.1. Nothing is written then.
        FileExistsError: if the version is there already.
        ImportError: without the extra `serving`.

    Examples:
        >>> model.labels = ["cat", "dog", "frog"]
        >>> folder = kd.export_saved_model(model, "served", "animals", preprocessing="unit")
        >>> folder.as_posix()
        'served/animals/1'
    """
    name = name or model.name
    check_version(base_path, name, version)  # before anything takes time
    network = model, preprocessing, labels, top_k, levels, size, folded, activation
    served = Served(*network, precision=precision, max_pixels=round(max_megapixels * 1e6), xla=xla)
    if precision in NARROW:
        agreement = measured(served, representative)
        agreement.check(precision)
        facts = {**(facts or {}), "agreement": agreement._asdict()}
    with new_version(base_path, name, version) as (target, beside), tempfile.TemporaryDirectory() as scratch:
        label_file = pathlib.Path(scratch, "labels.txt")
        write_labels(served, label_file)
        root = tf.Module()
        root.labels = tf.saved_model.Asset(str(label_file))
        tf.saved_model.save(root, beside, signatures=served.signatures)
        write_warmup(served, beside, name, allowed_batch_sizes(base_path), representative)
        write_card(served, beside, name, int(target.name), facts or {})
    write_configs(base_path, name)
    return target


def write_labels(served, path):
    """Writes the names of the classes, one a line."""
    path.write_text("".join(f"{visible(label)}\n" for label in served.labels), encoding="utf-8")


@contextlib.contextmanager
def new_version(base_path, name, version=None):
    """`new_versions` of one model: yields the `(target, beside)` of that."""
    with new_versions(base_path, [name], version) as [found]:
        yield found


@contextlib.contextmanager
def new_versions(base_path, names, version=None):
    """Lets the caller write a version beside, while no other process does so, and renames it when that went well.

    Args:
        base_path, version: as in `export_saved_model`. The version is the same for all.
        names: of the models; the first one appears last.

    Yields:
        A list of `(target, beside)`: where each version will be, and the path of a folder to make and fill.
    """
    with locked(base_path), contextlib.ExitStack() as stack:
        version = version or max(int(check_version(base_path, name).name) for name in names)
        targets = [check_version(base_path, name, version) for name in names]
        for target in targets:
            sweep(target.parent, "[0-9]*")
        yield [(target, stack.enter_context(written_beside(target))) for target in targets]


def check_version(base_path, name, version=None):
    """The folder of a version that is not there yet; raises ValueError or FileExistsError for a bad one."""
    parent = pathlib.Path(base_path) / name
    if version is None:
        there = [int(path.name) for path in parent.glob("*") if path.name.isdecimal()]
        version = max(there, default=0) + 1
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a whole number >= 1. Received: version={version!r}")
    target = parent / str(version)
    if target.exists():
        raise FileExistsError(f"{str(target)!r} is there already: give another version, or none for the next one")
    return target
