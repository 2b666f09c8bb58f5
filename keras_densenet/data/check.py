"""Finds bad data before training does, and tells it with a count and the first examples."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from keras_densenet.data.arrays import (
    FIXED,
    FRAMES,
    ORIENTATION,
    OWN_RANGE,
    PACKED,
    SHAPES,
    WINDOW,
    contents,
    has_16_bits,
    is_deep,
)
from keras_densenet.data.headers import NO_PICTURES, SEVERAL, VALUES, Fault, header_of, kind_of, look_through
from keras_densenet.data.images import ANIMATED, DEEP, MODES, NO_IMAGE, faults, open_image, pillow
from keras_densenet.data.progress import watched
from keras_densenet.data.splits import subset
from keras_densenet.files import written_beside
from keras_densenet.names import visible

NOWHERE, DAMAGED, FORBIDDEN = "a link that leads nowhere", "truncated or damaged", "not allowed to be read"
BAD = (NO_IMAGE, NOWHERE, DAMAGED, FORBIDDEN, ANIMATED, DEEP, FRAMES, PACKED, SEVERAL, VALUES, *SHAPES.values())
PASSED = "passed over, for they are no images"
CMYK, TURNED = "CMYK, turned into RGB", "EXIF-rotated, turned upright"
DEPTH16, SCALED = "16-bit, read as 0..255 with fractions", "16-bit in a format that is scaled to 8 bits"
HANDLED = (CMYK, TURNED, DEPTH16, SCALED, WINDOW, OWN_RANGE)
SHOWN = 3


class Report:
    """Collects what was found, and where."""

    def __init__(self):
        self.places, self.harmless = {}, {*HANDLED, PASSED}

    def add(self, finding, place):
        self.places.setdefault(finding, []).append(str(place))

    def note(self, finding, place):
        """Adds what is no error."""
        self.harmless.add(finding)
        self.add(finding, place)

    def settle(self, source, skip_bad):
        """Raises ValueError for what is bad, or with `skip_bad` returns that too as sentences for `Splits.notes`.

        Where a sentence cannot name all of it, a file in the cache does.
        """
        whole, bad, handled = self._write(source), [], []
        for finding, places in self.places.items():
            more = f" and {len(places) - SHOWN:,} more{whole}" if len(places) > SHOWN else ""
            line = f"{len(places):,} {finding}: {', '.join(places[:SHOWN])}{more}"
            (handled if finding in self.harmless else bad).append(line)
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
    """What one file is: its findings of `BAD` and `HANDLED`, and its shape.

    `shape` is that of an upright image with 1 (grey) or 3 channels, or of an array as it is; `dimensions` are known of
    what is no plain array; `deep` is whether it is decoded as float32.
    """

    findings: list[str]
    shape: list[int] = dataclasses.field(default_factory=list)
    dimensions: int | None = None
    deep: bool = False

    @property
    def good(self):
        return not set(self.findings) & set(BAD)

    def may_have(self, dimensions):
        """Whether it can be taken for a signal (1), an image (2) or a volume (3)."""
        is_whole = len(self.shape) in (dimensions, dimensions + 1) and min(self.shape) > 0
        return is_whole and self.dimensions in (None, dimensions)

    def size(self, dimensions):
        return tuple(self.shape[:dimensions])

    def channels(self, dimensions):
        return self.shape[dimensions] if len(self.shape) > dimensions else 1


def look_at_all(root, files):
    """A `Look` at each file; what has not changed since the last time is not read again.

    Args:
        root: the folder.
        files: `pathlib.Path`s in it.

    Returns:
        A dict from files to `Look`s.
    """
    cache, known = cache_file("checked", (str(root.resolve()), BAD, HANDLED, vars(Look([]))), ".json"), {}
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
    """A `Look` at one file, which is read to its end; of arrays, which may be large, a block at a time."""
    PIL, kind = pillow(), None
    try:
        kind = kind_of(file)
        if kind == "dicom":
            pixels, noticed = contents(file)
            return Look(noticed, [*pixels.shape], FIXED[kind], True)
        if kind:
            with header_of(file, kind) as header:
                look_through(header)
            plain = header.dtype == "uint8" and (len(header.shape) == 2 or header.shape[-1:] in [(n,) for n in MODES])
            return Look([], [*header.shape], FIXED.get(kind), not plain)
        with open_image(file) as image:
            turn, deep = image.getexif().get(ORIENTATION, 1), is_deep(image)
            found = faults(image)
            tests = {
                CMYK: image.mode == "CMYK",
                DEPTH16: deep,
                SCALED: has_16_bits(image) and not deep,
                TURNED: turn in range(2, 9),
            }
            width, height = image.size if turn < 5 else image.size[::-1]
            grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I;16")
            image.draft(None, (1, 1))  # makes haste, but a JPEG is read to its end all the same
            image.load()
    except Fault as fault:
        return Look([fault.finding])
    except PIL.UnidentifiedImageError:
        return Look([DAMAGED if str(file).lower().endswith(NO_PICTURES) else NO_IMAGE])
    except FileNotFoundError:
        return Look([NOWHERE])
    except PermissionError:
        return Look([FORBIDDEN])
    except (PIL.Image.DecompressionBombError, OSError, SyntaxError, ValueError, EOFError):
        return Look([DAMAGED])
    found += [finding for finding, is_so in tests.items() if is_so]
    return Look(found, [height, width, 1 if grey else 3], 2, deep)


def checked(parts, names, report, source, skip_bad):
    """Checks labels and classes; what is bad is an error, or is left out.

    Args:
        parts: a dict of `Split`s: "train", and where the source has them "validation" and "test".
        names: of the classes, or labels.
        report: a `Report` of what was found so far.
        source: what to call the data in an error.
        skip_bad: whether to go on without what is bad. A class with no training images is left out altogether; one
            that is missing elsewhere, or has one image, is kept. A label that no training image has, or all have, is
            left out; and images of which no label is known are, in any case.

    Returns:
        Parts and names as far as they are good, and sentences for `Splits.notes`.
    """
    if parts["train"].labels.ndim == 2:
        return _checked_labels(parts, names, report, source, skip_bad)
    for part, (_, labels, _) in parts.items():
        outside = (labels < 0) | (labels >= len(names))
        for index in np.flatnonzero(outside):
            report.add(f"labels out of range 0..{len(names) - 1}", f"{labels[index]} of {part} image {index}")
        count = np.bincount(labels[~outside], minlength=len(names))
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
        part: split._replace(labels=np.searchsorted(trained, split.labels).astype("int32"))
        for part, split in parts.items()
    }
    return parts, [names[index] for index in trained], notes


def _checked_labels(parts, names, report, source, skip_bad):
    for part, (_, labels, _) in parts.items():
        seen = np.stack([(labels == value).any(0) for value in (0, 1)], 1)
        for index in np.flatnonzero(~seen.all(1)):
            which = "1" if seen[index, 1] else "0" if seen[index, 0] else "unknown"
            (report.add if part == "train" else report.note)(
                f"labels of one value only in {part}", f"{visible(names[index])} is always {which}"
            )
        if part == "train":
            useful = np.flatnonzero(seen.all(1))
    notes = report.settle(source, skip_bad)
    if not len(useful):
        raise ValueError(f"{source} must have a label that is 1 for some training images and 0 for others")
    parts = {part: split._replace(labels=split.labels[:, useful]) for part, split in parts.items()}
    parts = {part: subset(split, np.flatnonzero((split.labels != -1).any(1))) for part, split in parts.items()}
    return parts, [names[index] for index in useful], notes
