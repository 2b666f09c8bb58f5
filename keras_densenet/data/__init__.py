"""Data sets, image files and input pipelines."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.data.digits import load_digits
    from keras_densenet.data.imagenet import decode_predictions, preprocess_input
    from keras_densenet.data.images import Pictures, read_images
    from keras_densenet.data.listing import files_of, list_images
    from keras_densenet.data.pipeline import evaluation_batches, training_steps, training_stream
    from keras_densenet.data.sources import load
    from keras_densenet.data.splits import Split, Splits, mean_and_std
    from keras_densenet.data.variation import Augmentation
    from keras_densenet.ops import Framing
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = [
    "Augmentation",
    "Framing",
    "Pictures",
    "Split",
    "Splits",
    "decode_predictions",
    "evaluation_batches",
    "files_of",
    "list_images",
    "load",
    "load_digits",
    "mean_and_std",
    "preprocess_input",
    "read_images",
    "training_steps",
    "training_stream",
]
