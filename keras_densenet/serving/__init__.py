"""SavedModels for TensorFlow Serving, and files for other runtimes."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.serving.check import check_saved_model
    from keras_densenet.serving.client import connect
    from keras_densenet.serving.export import export_saved_model
    from keras_densenet.serving.formats import export_file
    from keras_densenet.serving.native import NativeModel
    from keras_densenet.serving.runtimes import FileModel
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = ["FileModel", "NativeModel", "check_saved_model", "connect", "export_file", "export_saved_model"]
