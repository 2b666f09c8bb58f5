"""A folder of images as a data set."""

import pathlib

import numpy as np

from keras_densenet.data.check import PASSED, Report, checked, look_at_all
from keras_densenet.data.images import Pictures
from keras_densenet.data.listing import list_images
from keras_densenet.data.splits import Split, arrange
from keras_densenet.ops import Framing

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
SIZE = (224, 224)


def load_folder(folder, size=None, channels=None, seed=0, skip_bad=False, validation=0.1, **framing):
    """Loads `<folder>/<class>/...`, or `<folder>/train/<class>/...` with `val` and `test` beside it if they are there.

    Every image is looked at first, see `listing.list_images`. Images of one size stay in memory if they may, others
    are decoded when they are needed.

    Args:
        folder: a path.
        size: `(height, width)`. Default: the images' own if they all have one, otherwise 224x224.
        channels: 1, 3 or 4. Default: 1 if all images are grey, otherwise 3.
        framing: other arguments of `Framing`.
        seed: of what is held out.
        skip_bad: whether to go on without what is bad.
        validation: share of the training images to hold out if there is no folder for it.

    Returns:
        `Splits`.

    Raises:
        ValueError: with a list of what is bad.
    """
    root, report = pathlib.Path(folder), Report()
    listed = _list(root, report)
    looks = look_at_all(root, [file for files in listed.values() for file in files])
    for file, look in looks.items():
        for finding in look.findings:
            report.add(finding, file.relative_to(root))

    names, parts = sorted({label for _, label in listed}), {part: [] for part, _ in listed}
    for (part, label), files in listed.items():
        parts[part] += [(str(file), names.index(label)) for file in files if looks[file].good]
    used = [look for look in looks.values() if look.good]
    sizes = {(look.height, look.width) for look in used}
    size = size or (min(sizes) if len(sizes) == 1 else SIZE)
    framing = Framing(size, channels or (1 if all(look.grey for look in used) else 3), **framing)
    for part, pairs in parts.items():
        files, labels = zip(*pairs, strict=True) if pairs else ((), ())
        parts[part] = Split(Pictures(np.array(files, object), framing), np.array(labels, "int32"))
    parts, names, notes = checked(parts, names, report, f"The folder {str(root)!r}", skip_bad)
    if sizes == {framing.size}:
        parts = {part: Split(split.images.settled(), split.labels) for part, split in parts.items()}
    return arrange(parts, names, seed, validation, notes, framing)


def _list(root, report):
    """The files of each part and class: `{("train", "cat"): [...], ...}`."""
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    parts = {name: folders[name] for name in PARTS if name in folders} if "train" in folders else {"train": root}
    found = {}
    for name, part in parts.items():
        for folder in sorted(part.iterdir()):
            if folder.is_dir() and not folder.name.startswith("."):
                images, others = list_images(folder)
                found.setdefault((PARTS[name], folder.name), []).extend(images)
                for file in others:
                    report.add(PASSED, file.relative_to(root))
    if not found:
        raise ValueError(
            f"The folder {str(root)!r} has no subfolders: put the images of each class into one of its own"
        )
    return found
