"""TensorFlow Serving's protocol buffers, which an extra installs."""

import importlib


def serving_api(module):
    """Imports `tensorflow_serving.<module>`; the ImportError names the extra to install."""
    try:
        return importlib.import_module(f"tensorflow_serving.{module}")
    except ImportError:
        raise ImportError(
            "Serving needs TensorFlow Serving's interface: pip install 'keras-densenet[serving]'"
        ) from None
