"""Bad image files against an export: python -m benchmarks.serving_fuzz [1000]; with --markdown, the last run's figures.

Sends mutated JPEG, PNG, GIF, BMP and WebP files, truncated ones, bombs, empty ones and text, in batches with two good
ones and one that is whole but larger than the limit, through TensorFlow's C loader. A minute, on Linux.
"""

import csv
import itertools
import pathlib
import re
import sys
import tempfile

import keras
import numpy as np
import rich.progress

import keras_densenet as kd
from benchmarks.race import RESULTS, console, machine, save
from keras_densenet.serving import NativeModel
from tests import tiny
from tests.serving.files import encode, mutated

TITLE = "serving, bad files"
MAX_MEGAPIXELS = 1
# Four images are decoded at a time, each of the limit's pixels in bytes and in float32: an image of 36 megapixels
# alone, were it decoded, would take ten times that.
MAX_GROWTH = 4 * MAX_MEGAPIXELS * 1e6 * (3 + 12)


def main(count):
    with tempfile.TemporaryDirectory() as base:
        network = tiny.network(stem="imagenet")
        folder = kd.export_saved_model(
            network, base, preprocessing=keras.layers.Rescaling(1 / 255), max_megapixels=MAX_MEGAPIXELS
        )
        model = NativeModel(folder)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 19, 16, 3)).astype("uint8")
        expected, good = network.predict_on_batch(pixels / np.float32(255)), [encode(image) for image in pixels]
        large = itertools.cycle([encode(np.full((6000, 6000, 3), 99, "uint8"), kind) for kind in ("PNG", "JPEG")])
        at_limit = encode(np.full((1000, 1000, 3), 99, "uint8"))
        assert _ask(model, [*good, *[at_limit] * 8])["ok"].all()
        _forget_peak()
        before, files, decoded, batches, errors = _memory("VmRSS"), mutated(count, seed=1), 0, 0, set()
        for _ in rich.progress.track(range(0, count, 8), "fuzzing", console=console, transient=True):
            answer = _ask(model, [good[0], *itertools.islice(files, 8), next(large), good[1]])
            assert answer["ok"][[0, -1]].all()
            assert not answer["ok"][-2]
            np.testing.assert_allclose(answer["probabilities"][[0, -1]], expected, atol=1e-5)
            decoded, batches = decoded + answer["ok"][1:-2].sum(), batches + 1
            errors |= {error.decode() for error in answer["error"] if b"pixels" not in error}
        grown = _memory("VmHWM") - before
    console.print(f"{count} files: {decoded} decoded, {count - decoded} refused ({_list(errors)}, too large)")
    console.print(
        f"{2 * batches} good files among them: all answered right; {batches} of 36 megapixels: all refused. Peak "
        f"memory grew by {grown / 1e6:.0f} MB, at most {MAX_GROWTH / 1e6:.0f} MB are allowed. {machine()}"
    )
    assert grown <= MAX_GROWTH
    row = {"files": count, "decoded": decoded, "refused": count - decoded, "good and right": 2 * batches}
    save(TITLE, [{**row, "growth, bytes": grown, "allowed": int(MAX_GROWTH)}])


def markdown():
    """The last run's figures, as docs/serving.md has them."""
    with open(RESULTS / f"{TITLE}.csv", newline="") as file:
        next(file)  # the machine
        (row,) = csv.DictReader(file)
    grown, allowed = (int(row[key]) / 1e6 for key in ("growth, bytes", "allowed"))
    return (
        f"Of {int(row['files']):,} bad files {row['decoded']} could be decoded all the same, the others were refused "
        f"one by one.\nThe process went on, all {row['good and right']} good files got their right answers, and memory "
        f"grew by {grown:.0f} MB ({allowed:.0f} MB are allowed)."
    )


def _ask(model, files):
    return model.run("image_bytes", {"image_bytes": np.array(files, object)})


def _list(errors):
    return ", ".join(sorted(filter(None, errors)))


def _memory(figure):
    """VmRSS, bytes in use, or VmHWM, the most since `_forget_peak`."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{figure}:\s+(\d+) kB", status)[1]) * 1024


def _forget_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    if sys.argv[1:] == ["--markdown"]:
        print(markdown())
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
