"""SavedModels for TensorFlow Serving."""

from keras_densenet.serving.export import export_saved_model

__all__ = ["export_saved_model"]
