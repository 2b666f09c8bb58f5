import numpy as np
import pytest

from keras_densenet.data import Split, Splits

NETWORK = {"depth": 10, "growth_rate": 4}


@pytest.fixture(scope="session")
def stripes():
    """96 small images of two classes: stripes along and across."""
    random = np.random.default_rng(0)
    images = random.uniform(0, 60, (96, 12, 12, 1)).astype("float32")
    labels = np.arange(96, dtype="int32") % 2
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    parts = [Split(images[part], labels[part]) for part in (slice(64), slice(64, 80), slice(80, 96))]
    return Splits(*parts, labels=["along", "across"])
