"""Finds bad data before training does, and tells it with a count and the first examples."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from keras_densenet.data.images import ANIMATED, DEEP, NO_IMAGE, ORIENTATION, faults, open_image, pillow
from keras_densenet.data.progress import watched
from keras_densenet.data.splits import Split, subset
from keras_densenet.files import written_beside

NOWHERE, DAMAGED, FORBIDDEN = "a link that leads nowhere", "truncated or damaged", "not allowed to be read"
BAD = (NO_IMAGE, NOWHERE, DAMAGED, FORBIDDEN, ANIMATED, DEEP)
PASSED = "passed over, for they are no images"
HANDLED = CMYK, DEPTH16, TURNED = "CMYK, turned into RGB", "16-bit, scaled to 8 bits", "EXIF-rotated, turned upright"
SHOWN = 3


class Report:
    """Collects what was found, and where."""

    def __init__(self):
        self.places = {}

    def add(self, finding, place):
        self.places.setdefault(finding, []).append(str(place))

    def settle(self, source, skip_bad):
        """Raises ValueError for what is bad, or with `skip_bad` returns that too as sentences for `Splits.notes`.

        Where a sentence cannot name all of it, a file in the cache does.
        """
        whole, bad, handled = self._write(source), [], []
        for finding, places in self.places.items():
            more = f" and {len(places) - SHOWN:,} more{whole}" if len(places) > SHOWN else ""
            line = f"{len(places):,} {finding}: {', '.join(places[:SHOWN])}{more}"
            (handled if finding in (*HANDLED, PASSED) else bad).append(line)
        if bad and not skip_bad:
            advice = "Mend it, or go on without: --skip-bad (skip_bad=True)"
            raise ValueError("\n  ".join([f"{source} has bad data:", *bad]) + f"\n{advice}")
        return (*(f"bad data skipped: {line}" for line in bad), *handled)

    def _write(self, source):
        """Writes the whole list if one is long, and says where it is; "" if it is not."""
        if all(len(places) <= SHOWN for places in self.places.values()):
            return ""
        path = cache_file("found", source, ".txt")
        lines = (f"{finding}\t{place}\n" for finding, places in self.places.items() for place in places)
        try:
            with written_beside(path) as beside:
                beside.write_text("".join(lines), errors="surrogateescape")
        except OSError:
            return ""
        return f" (all in {path})"


def cache_file(kind, source, suffix):
    """The path of a file about a source of data in this package's cache."""
    key = hashlib.sha256(repr(source).encode(errors="surrogateescape")).hexdigest()[:16]
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return home / "keras_densenet" / f"{kind}-{key}{suffix}"


@dataclasses.dataclass(frozen=True)
class Look:
    """What one file is: its findings of `BAD` and `HANDLED`, its upright size, and whether it is grey."""

    findings: list[str]
    height: int = 0
    width: int = 0
    grey: bool = False

    @property
    def good(self):
        return not set(self.findings) & set(BAD)


def look_at_all(root, files):
    """A `Look` at each file; what has not changed since the last time is not read again.

    Args:
        root: the folder.
        files: `pathlib.Path`s in it.

    Returns:
        A dict from files to `Look`s.
    """
    cache, known = cache_file("checked", (str(root.resolve()), BAD, HANDLED), ".json"), {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(cache.read_text())
    stats = {file: file.stat() if file.exists() else file.lstat() for file in files}  # a link may lead nowhere
    stamps = {file: [stat.st_size, stat.st_mtime_ns] for file, stat in stats.items()}
    new = [file for file in files if known.get(str(file), [None])[0] != stamps[file]]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        looks = dict(zip(new, watched(pool.map(look_at, new), f"checking {root}", len(new)), strict=True))
    looks = {file: looks.get(file) or Look(**known[str(file)][1]) for file in files}
    if new:
        with contextlib.suppress(OSError), written_beside(cache) as beside:  # it only saves time
            beside.write_text(json.dumps({str(file): [stamps[file], vars(look)] for file, look in looks.items()}))
    return looks


def look_at(file):
    """A `Look` at one file, which is read to its end."""
    PIL = pillow()
    try:
        with open_image(file) as image:
            turn, deep = image.getexif().get(ORIENTATION, 1), image.mode.startswith("I;16")
            found = faults(image)
            tests = {
                CMYK: image.mode == "CMYK",
                DEPTH16: deep or any(";16" in str(tile[3]) for tile in image.tile),
                TURNED: turn in range(2, 9),
            }
            width, height = image.size if turn < 5 else image.size[::-1]
            grey = deep or image.mode in ("1", "L", "LA")
            image.draft(None, (1, 1))  # makes haste, but a JPEG is read to its end all the same
            image.load()
    except PIL.UnidentifiedImageError:
        return Look([NO_IMAGE])
    except FileNotFoundError:
        return Look([NOWHERE])
    except PermissionError:
        return Look([FORBIDDEN])
    except (PIL.Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        return Look([DAMAGED])
    return Look([*found, *(finding for finding, is_so in tests.items() if is_so)], height, width, grey)


def checked(parts, names, report, source, skip_bad):
    """Checks labels and classes; what is bad is an error, or is left out.

    Args:
        parts: a dict of `Split`s: "train", and where the source has them "validation" and "test".
        names: of the classes.
        report: a `Report` of what was found so far.
        source: what to call the data in an error.
        skip_bad: whether to go on without what is bad. A class with no training images is left out altogether; one
            that is missing elsewhere, or has one image, is kept.

    Returns:
        Parts and names as far as they are good, and sentences for `Splits.notes`.
    """
    for part, (_, labels) in parts.items():
        for index in np.flatnonzero((labels < 0) | (labels >= len(names))):
            report.add(f"labels out of range 0..{len(names) - 1}", f"{labels[index]} of {part} image {index}")
        count = [np.count_nonzero(labels == index) for index in range(len(names))]
        for name, images in zip(names, count, strict=True):
            if images == 0:
                report.add(f"classes without images in {part}", name)
            if images == 1 and part == "train":
                report.add("classes with one training image", name)
    notes = report.settle(source, skip_bad)
    trained = np.intersect1d(parts["train"].labels, np.arange(len(names)))
    if len(trained) < 2:
        raise ValueError(f"{source} must have images of two or more classes. Received: {len(trained)}")
    parts = {part: subset(split, np.flatnonzero(np.isin(split.labels, trained))) for part, split in parts.items()}
    parts = {
        part: Split(images, np.searchsorted(trained, labels).astype("int32"))
        for part, (images, labels) in parts.items()
    }
    return parts, [names[index] for index in trained], notes
