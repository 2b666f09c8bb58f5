"""Bad image files against an export: python -m benchmarks.serving_fuzz [1000].

Sends mutated JPEG, PNG, GIF, BMP and WebP files, truncated ones, bombs, empty ones and text, in batches with two good
ones, through TensorFlow's C loader. A minute.
"""

import itertools
import resource
import sys
import tempfile

import keras
import numpy as np
import rich.progress

import keras_densenet as kd
from keras_densenet.serving import NativeModel
from tests import tiny
from tests.serving.files import encode, mutated

MAX_MEGAPIXELS = 1


def main(count):
    with tempfile.TemporaryDirectory() as base:
        network = tiny.network(stem="imagenet")
        folder = kd.export_saved_model(
            network, base, preprocessing=keras.layers.Rescaling(1 / 255), max_megapixels=MAX_MEGAPIXELS
        )
        model = NativeModel(folder)
        pixels = np.random.default_rng(0).integers(0, 256, (2, 19, 16, 3)).astype("uint8")
        expected, good = network.predict_on_batch(pixels / np.float32(255)), [encode(image) for image in pixels]
        _ask(model, good)
        before, files, read, errors = _peak(), mutated(count, seed=1), 0, set()
        for _ in rich.progress.track(range(0, count, 8), "fuzzing"):
            answer = _ask(model, [good[0], *itertools.islice(files, 8), good[1]])
            assert answer["ok"][[0, -1]].all()
            np.testing.assert_allclose(answer["probabilities"][[0, -1]], expected, atol=1e-5)
            read += answer["ok"][1:-1].sum()
            errors |= {error.decode() for error in answer["error"] if b"pixels" not in error}
        print(f"{count} files: {read} decoded, {count - read} refused ({', '.join(filter(None, errors))}, too large)")
        print(f"peak memory grew by {(_peak() - before) / 1e6:.0f} MB; the limit is {MAX_MEGAPIXELS} megapixel")


def _ask(model, files):
    return model.run("image_bytes", {"image_bytes": np.array(files, object)})


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
