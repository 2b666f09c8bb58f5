"""A folder of images, signals or volumes as a data set."""

import numpy as np

from keras_densenet.data.check import PASSED, Report
from keras_densenet.data.labelled import Files, LabelledFiles
from keras_densenet.data.listing import list_images

PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


def list_folder(root):
    """The `LabelledFiles` of `<root>/<class>/...`, or `<root>/train/<class>/...` with `val` and `test` beside it.

    What is an image is said by `listing.list_images`. Raises ValueError where there are no classes.
    """
    report = Report()
    listed = _list(root, report)
    names, parts = sorted({label for _, label in listed}), {part: ([], []) for part, _ in listed}
    for (part, label), files in listed.items():
        parts[part][0].extend(files)
        parts[part][1].extend([names.index(label)] * len(files))
    files = {part: Files(paths, np.array(labels, "int32")) for part, (paths, labels) in parts.items()}
    places = {file: str(file.relative_to(root)) for paths, _ in parts.values() for file in paths}
    return LabelledFiles(files, names, places, report, root, f"The folder {str(root)!r}")


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
