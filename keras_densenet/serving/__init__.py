"""SavedModels for TensorFlow Serving."""

from keras_densenet.serving.check import check_saved_model
from keras_densenet.serving.client import connect
from keras_densenet.serving.export import export_saved_model
from keras_densenet.serving.native import NativeModel

__all__ = ["NativeModel", "check_saved_model", "connect", "export_saved_model"]
