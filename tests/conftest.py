"""Fixtures of the whole suite."""

import gc
import os
import signal
import unittest.mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_DENSENET_CACHE"] = ""  # what one test compiles, another shall
# The same program from XLA, whose code is made at once instead of fast; `XLA_FLAGS= pytest` makes it as users have it.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0")

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a script's background ignores
TAKE_LONG = {"digits_run", "exported", "finished"}  # fixtures that train or export


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if TAKE_LONG & set(item.fixturenames):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _settings():
    """TensorFlow is imported here, not by a process that only hands out tests to others."""
    import keras
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)  # on a GPU, float32 is compared as such
    # XLA takes seconds to compile a tiny step: it does where a test asks for it, not wherever Keras would choose it.
    unittest.mock.patch.object(keras.Model, "_resolve_auto_jit_compile", return_value=False).start()
    gc.freeze()  # half a million objects of TensorFlow that stay are not looked through again and again
    gc.set_threshold(10_000)


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=4, help="how often tests/training/test_interruptions.py kills a run")


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Every test starts from the same seed and leaves neither layers nor settings behind."""
    import keras

    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.backend.clear_session(free_memory=False)  # a collection after every test would take minutes


@pytest.fixture
def float64():
    """Layers and images in float64, in which two equal formulations agree to 1e-9."""
    import keras

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")


@pytest.fixture
def fixed_dropout(monkeypatch):
    """Makes dropout's masks a function of the tensor's shape alone, in our layers and in Keras'.

    Both draw with `stateless_dropout`, from seeds of their own.
    """
    import numpy as np
    import tensorflow as tf

    def dropout(x, rate, seed, **options):
        kept = np.random.default_rng(x.shape.as_list()).random(x.shape) >= rate
        return x * tf.cast(kept / (1 - rate), x.dtype)

    monkeypatch.setattr(tf.nn.experimental, "stateless_dropout", dropout)
