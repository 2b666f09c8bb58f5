"""Fashion-MNIST from its IDX files, as a builder of TensorFlow Datasets."""

import dataclasses
import gzip
import hashlib
import pathlib
import zlib

import numpy as np
import tensorflow_datasets as tfds

FILES = {"train": "train", "test": "t10k"}
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclasses.dataclass(kw_only=True)
class IdxFolder(tfds.core.BuilderConfig):
    """A folder with the four files; the name follows from their bytes, so that other files are another data set."""

    folder: pathlib.Path
    name: str = ""

    def __post_init__(self):
        digest = hashlib.sha256()
        for prefix in FILES.values():
            for path in idx_files(self.folder, prefix):
                digest.update(path.read_bytes())
        self.name = digest.hexdigest()[:16]


class FashionMnistIdx(tfds.core.GeneratorBasedBuilder):
    """Fashion-MNIST, read from a folder. A label that is none of the ten classes is kept as -1."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image, label = tfds.features.Image(shape=(28, 28, 1)), tfds.features.ClassLabel(names=LABELS)
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(prefix) for part, prefix in FILES.items()}

    def _generate_examples(self, prefix):
        images, labels = (read_idx(path) for path in idx_files(self.builder_config.folder, prefix))
        if images.shape != (len(labels), 28, 28):
            raise ValueError(f"{prefix}: {len(labels)} labels do not fit images of shape {images.shape}")
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": image[..., None], "label": int(label) if label < len(LABELS) else -1}


def idx_files(folder, prefix):
    """The files with images and with labels, `.gz` or not."""
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        path = pathlib.Path(folder, f"{prefix}-{kind}.gz")
        path = path if path.exists() else path.with_suffix("")
        if not path.exists():
            raise FileNotFoundError(f"There is no file {prefix}-{kind}.gz in {str(folder)!r}")
        yield path


def read_idx(path):
    """The uint8 array of an IDX file.

    Source: http://yann.lecun.com/exdb/mnist, "the IDX file format".
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        shape = np.frombuffer(content, ">i4", content[3], offset=4)
        if content[:3] != b"\0\0\x08" or len(content) != 4 + 4 * content[3] + np.prod(shape, dtype=int):
            raise ValueError("its header does not fit its length")
        return np.frombuffer(content, "uint8", offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} is not a whole IDX file of bytes: {error}") from None
