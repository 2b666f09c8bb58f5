"""Data sets by their names in TensorFlow Datasets."""

import difflib
import pathlib

import numpy as np

from keras_densenet.data.check import Report, checked
from keras_densenet.data.images import IN_MEMORY, Pictures
from keras_densenet.data.labelled import SIZE
from keras_densenet.data.progress import watched
from keras_densenet.data.splits import Split, arrange
from keras_densenet.ops import Framing

DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
PARTS = ("train", "validation", "test")
RANDOM_ACCESS = "array_record"  # the file format
TRAIN = {"svhn_cropped": "train+extra"}  # as the paper trains


def load_fashion_mnist(data_dir=None, prepared=None, **options):
    """Loads Fashion-MNIST from IDX files in `data_dir` or where Debian's `dataset-fashion-mnist` puts them; otherwise
    TensorFlow Datasets downloads it.

    Args:
        data_dir: a folder with `train-images-idx3-ubyte.gz` and its three companions.
        prepared: where TensorFlow Datasets keeps what it made of them. Default: its own folder.
        options: as for `load_named`.

    Returns:
        `Splits` of 54,000 / 6,000 / 10,000 images `(28, 28, 1)`.
    """
    folder = pathlib.Path(data_dir or DEBIAN)
    if not data_dir and not folder.is_dir():
        return load_named("fashion_mnist", prepared, **options)
    tensorflow_datasets()
    from keras_densenet.data.idx import FashionMnistIdx, IdxFolder

    return _load(FashionMnistIdx(data_dir=prepared, config=IdxFolder(folder=folder)), **options)


def load_named(name, data_dir=None, **options):
    """Loads any image-classification data set of TensorFlow Datasets, which downloads it if it is not on disk.

    Images of one size stay in memory; others, and those that were prepared as `array_record` and do not fit, are
    decoded when they are needed.

    Args:
        name: such as "cifar10" or "oxford_flowers102:2.1.1".
        data_dir: where TensorFlow Datasets keeps its data. Default: its own folder.
        size: `(height, width)`. Default: the images' own if they all have one, otherwise 224x224.
        channels: 1, 3 or 4. Default: the images' own.
        seed: of what is held out.
        skip_bad: whether to go on without what is bad.
        validation: share of the training images to hold out if there are no validation images.
        crop_pct, interpolation: of `Framing`.

    Returns:
        `Splits`.

    Raises:
        ValueError: for a name that is not known, or what is no image classification.
        OSError: if the data is not on disk and cannot be downloaded.
    """
    tfds = tensorflow_datasets()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        near = difflib.get_close_matches(name, tfds.list_builders(), 3)
        hint = f" Did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"{name!r} is neither a folder nor a data set of TensorFlow Datasets.{hint}") from None
    return _load(builder, **options)


def tensorflow_datasets():
    try:
        import tensorflow_datasets
    except ImportError:
        raise ImportError("This data set needs TensorFlow Datasets: pip install 'keras-densenet[cli]'") from None
    return tensorflow_datasets


def _load(builder, size=None, channels=None, seed=0, skip_bad=False, validation=0.1, **framing):
    name, (image, label) = builder.info.name, _keys(builder)
    shape, names = builder.info.features[image].shape, builder.info.features[label].names
    own = None if None in shape[:2] else tuple(shape[:2])
    _prepare(builder, None if own else RANDOM_ACCESS)
    framing = Framing(size or own or SIZE, channels or shape[2] or 3, **framing)
    wanted = {part: part for part in PARTS if part in builder.info.splits} | {"train": TRAIN.get(name, "train")}
    at_once, parts = own and builder.info.file_format.value != RANDOM_ACCESS, {}
    dtype = "uint8" if np.dtype(builder.info.features[image].np_dtype) == "uint8" else "float32"
    for part, split in wanted.items():
        images, labels = (_arrays if at_once else _records)(builder, split, image, label)
        if part == "test" and (labels < 0).all():
            continue  # a competition's: nobody has them
        if not at_once or dtype != "uint8" or images.shape[1:] != (*framing.size, framing.channels):
            read = images.__getitem__ if at_once else images
            images = Pictures(np.arange(len(labels)), framing, read, dtype)
            images = images.settled() if own else images
        parts[part] = Split(images, labels)
    parts, names, notes = checked(parts, names, Report(), f"The data set {name!r}", skip_bad)
    return arrange(parts, names, seed, validation, notes, framing)


def _keys(builder):
    """The names of image and label among the features."""
    tfds, keys = tensorflow_datasets(), builder.info.supervised_keys or ()
    kinds = tuple(type(builder.info.features[key]) for key in keys if isinstance(key, str))
    if kinds != (tfds.features.Image, tfds.features.ClassLabel):
        raise ValueError(f"{builder.info.name!r} is not image classification: its supervised keys are {keys}")
    return keys


def _prepare(builder, file_format):
    if builder.is_prepared():
        return
    try:
        builder.download_and_prepare(file_format=file_format)
    except (OSError, RuntimeError, AssertionError) as error:
        message = f"{builder.info.name!r} is not in {str(builder.data_dir)!r} and cannot be made there: {error}"
        raise OSError(message) from None


def _arrays(builder, split, image, label):
    """All images, which are of one size, and labels."""
    tfds = tensorflow_datasets()
    batches = builder.as_dataset(
        split=split, batch_size=1000, decoders=tfds.decode.PartialDecoding({image: True, label: True})
    )
    batches = [*watched(tfds.as_numpy(batches), f"reading {split}")]
    images, labels = (np.concatenate([batch[key] for batch in batches]) for key in (image, label))
    return images, labels.astype("int32")


def _records(builder, split, image, label):
    """A function from index to encoded image, and labels; in memory if small, or in a format without random access."""
    tfds = tensorflow_datasets()
    decoders = {image: tfds.decode.SkipDecoding()}
    if builder.info.file_format.value == RANDOM_ACCESS:
        records = source = builder.as_data_source(split, decoders=decoders)
        in_memory = builder.info.dataset_size <= IN_MEMORY
    else:
        records, in_memory = tfds.as_numpy(builder.as_dataset(split=split, decoders=decoders)), True
    kept, labels = [], []
    for record in watched(records, f"reading {split}"):
        labels.append(record[label])
        if in_memory:
            kept.append(record[image])
    return kept.__getitem__ if in_memory else lambda index: source[index][image], np.array(labels, "int32")
