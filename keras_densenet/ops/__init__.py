"""The mathematics: pure functions of tensors, no weights, no Keras layers."""

from keras_densenet.ops.dense_block import BlockStatistics, LayerWeights, dense_block
from keras_densenet.ops.normalization import affine_relu, moments, scale_and_shift
from keras_densenet.ops.pooling import stem_pool
from keras_densenet.ops.transition import transition

__all__ = [
    "BlockStatistics",
    "LayerWeights",
    "affine_relu",
    "dense_block",
    "moments",
    "scale_and_shift",
    "stem_pool",
    "transition",
]
