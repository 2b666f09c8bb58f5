"""Data sets, image files and input pipelines."""

from keras_densenet.data.digits import load_digits
from keras_densenet.data.imagenet import decode_predictions, preprocess_input
from keras_densenet.data.images import read_images
from keras_densenet.data.pipeline import Split, Splits, evaluation_batches, training_steps, training_stream

__all__ = [
    "Split",
    "Splits",
    "decode_predictions",
    "evaluation_batches",
    "load_digits",
    "preprocess_input",
    "read_images",
    "training_steps",
    "training_stream",
]
