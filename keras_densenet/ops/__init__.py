"""The mathematics: pure functions of tensors, no weights, no Keras layers."""

from keras_densenet.ops.dense_block import BlockStatistics, LayerWeights, dense_block, dense_block_inference
from keras_densenet.ops.dropout import Dropout
from keras_densenet.ops.folded import FoldedWeights, folded_bias_relu, folded_dense_block, folded_norm_relu, folded_read
from keras_densenet.ops.forms import Target, compiled_for
from keras_densenet.ops.framing import Framing, check_framing, resize_box
from keras_densenet.ops.norm_relu import norm_relu
from keras_densenet.ops.normalization import affine_relu, scale_and_shift, wide
from keras_densenet.ops.pooling import blur, stem_pool, stem_pool_in_training
from keras_densenet.ops.preprocessing import (
    CONVENTIONS,
    check_channels,
    convention,
    normalise,
    resize,
    resize_and_crop,
)
from keras_densenet.ops.replicas import synchronise_statistics
from keras_densenet.ops.transition import transition

__all__ = [
    "CONVENTIONS",
    "BlockStatistics",
    "Dropout",
    "FoldedWeights",
    "Framing",
    "LayerWeights",
    "Target",
    "affine_relu",
    "blur",
    "check_channels",
    "check_framing",
    "compiled_for",
    "convention",
    "dense_block",
    "dense_block_inference",
    "folded_bias_relu",
    "folded_dense_block",
    "folded_norm_relu",
    "folded_read",
    "norm_relu",
    "normalise",
    "resize",
    "resize_and_crop",
    "resize_box",
    "scale_and_shift",
    "stem_pool",
    "stem_pool_in_training",
    "synchronise_statistics",
    "transition",
    "wide",
]
