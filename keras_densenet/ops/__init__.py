"""The mathematics: pure functions of tensors, no weights, no Keras layers."""

from keras_densenet.ops.dense_block import BlockStatistics, LayerWeights, dense_block, dense_block_inference
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.normalization import affine_relu, moments, scale_and_shift
from keras_densenet.ops.pooling import stem_pool
from keras_densenet.ops.transition import transition

__all__ = [
    "BlockStatistics",
    "Dropout",
    "LayerWeights",
    "affine_relu",
    "dense_block",
    "dense_block_inference",
    "moments",
    "scale_and_shift",
    "stem_pool",
    "transition",
]
