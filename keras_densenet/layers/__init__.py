"""Keras layers of a DenseNet: they own weights and configuration and call `keras_densenet.ops`."""

from keras_densenet.layers.dense_block import DenseBlock
from keras_densenet.layers.folded import (
    FoldedDeepStem,
    FoldedDenseBlock,
    FoldedHead,
    FoldedImageNetStem,
    FoldedTransition,
)
from keras_densenet.layers.head import Head
from keras_densenet.layers.preprocess import Preprocess
from keras_densenet.layers.stems import BlurPool, CifarStem, DeepStem, ImageNetStem, StemPool
from keras_densenet.layers.transition import Transition

__all__ = [
    "BlurPool",
    "CifarStem",
    "DeepStem",
    "DenseBlock",
    "FoldedDeepStem",
    "FoldedDenseBlock",
    "FoldedHead",
    "FoldedImageNetStem",
    "FoldedTransition",
    "Head",
    "ImageNetStem",
    "Preprocess",
    "StemPool",
    "Transition",
]
