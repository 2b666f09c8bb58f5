"""The dense block as a Keras layer."""

from typing import Any

import keras
import tensorflow as tf

from keras_densenet import ops
from keras_densenet.architecture import check_count, check_rate
from keras_densenet.layers.base import PaperLayer, as_tensors, channels_of, images_like
from keras_densenet.types import Shape, Tensor


@keras.saving.register_keras_serializable("keras_densenet")
class DenseBlock(PaperLayer):
    """A dense block: every layer reads all feature maps before it and adds `growth_rate` of its own.

    A layer H_l is BN - ReLU - 1x1 convolution to 4k channels - BN - ReLU - 3x3 convolution to k channels with a
    bottleneck, and BN - ReLU - 3x3 convolution to k channels without; dropout follows every convolution. Batch
    statistics are computed once for every feature map, and each layer that reads it applies its own scale and shift.

    Weights of the l-th layer, l from 1: `layer{l}_norm1_gamma`, `layer{l}_norm1_beta`, `layer{l}_conv1_kernel`, and
    with a bottleneck `layer{l}_norm2_*`, `layer{l}_conv2_kernel`. `features_moving_mean` and
    `features_moving_variance` belong to x_0 ... x_{n-1}, concatenated as the last layer reads them.

    Args:
        num_layers: n, the number of layers.
        growth_rate: k, the channels that every layer adds.
        bottleneck: whether layers have a 1x1 bottleneck of 4k channels.
        dropout_rate: fraction of each convolution's outputs that is dropped in training.
        momentum: of the moving statistics.
        epsilon: added to variances.
        seed: of the dropout.

    Call arguments:
        inputs: x_0, `(batch, ..., channels)`: signals `(batch, length, channels)`, images `(batch, height, width,
            channels)` or volumes `(batch, depth, height, width, channels)`, whose convolutions have as many dimensions.
        training: whether to normalise with the batch's statistics (unless the layer is frozen) and to drop.

    Returns:
        `(batch, ..., channels + num_layers * growth_rate)`, x_0 first.

    Raises:
        ValueError: for an argument out of range.

    Examples:
        >>> block = kd.layers.DenseBlock(num_layers=3, growth_rate=4)
        >>> block(np.ones((1, 8, 8, 6), "float32"), training=True).shape  # 6 + 3 * 4 channels
        TensorShape([1, 8, 8, 18])

    Source: the paper, section 3.
    """

    def __init__(
        self,
        num_layers: int,
        growth_rate: int,
        bottleneck: bool = True,
        dropout_rate: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_count("num_layers", num_layers)
        check_count("growth_rate", growth_rate)
        check_rate("dropout_rate", dropout_rate)
        self.num_layers, self.growth_rate, self.bottleneck = int(num_layers), int(growth_rate), bool(bottleneck)
        self.dropout_rate, self.seed = float(dropout_rate), seed
        self.seed_generator: Any = keras.random.SeedGenerator(seed) if dropout_rate else None

    def build(self, input_shape: Shape) -> None:
        channels, k = channels_of(input_shape, self), self.growth_rate
        rank = len(input_shape) - 2
        self.h = [self._add_layer(f"layer{i + 1}", rank, channels + i * k) for i in range(self.num_layers)]
        self.feature_statistics = self.add_statistics("features", channels + (self.num_layers - 1) * k)
        self.bottleneck_statistics = [
            self.add_statistics(f"layer{i + 1}_norm2", 4 * k) for i in range(self.num_layers) if self.bottleneck
        ]
        self.input_spec = images_like(input_shape)

    def _add_layer(self, name, rank, channels):
        k, width = self.growth_rate, 4 * self.growth_rate
        first = self.add_scale(f"{name}_norm1", channels)
        if not self.bottleneck:
            return (*first, self.add_kernel(f"{name}_conv1_kernel", (*[3] * rank, channels, k)))
        return (
            *first,
            self.add_kernel(f"{name}_conv1_kernel", (*[1] * rank, channels, width)),
            *self.add_scale(f"{name}_norm2", width),
            self.add_kernel(f"{name}_conv2_kernel", (*[3] * rank, width, k)),
        )

    def forward(self, inputs: Tensor, training: bool | None) -> Tensor:
        weights = [ops.LayerWeights(*as_tensors(h)) for h in self.h]
        if not training:
            return ops.dense_block_inference(inputs, weights, self.epsilon, self._moving_statistics())
        statistics = None if self.uses_batch_statistics(training) else self._moving_statistics()
        dropout = ops.Dropout(self.dropout_rate, self.seed_generator.next()) if self.dropout_rate else None
        features, used = ops.dense_block(inputs, weights, self.epsilon, statistics, dropout)
        if statistics is None:
            moving = [self.feature_statistics, *self.bottleneck_statistics]
            self.update_statistics(*map(tf.nest.flatten, (moving, used)))
        return features

    def _moving_statistics(self):
        features, *bottlenecks = map(as_tensors, [self.feature_statistics, *self.bottleneck_statistics])
        return ops.BlockStatistics(features, tuple(bottlenecks))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], channels_of(input_shape, self) + self.num_layers * self.growth_rate)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "growth_rate": self.growth_rate,
            "bottleneck": self.bottleneck,
            "dropout_rate": self.dropout_rate,
            "seed": self.seed,
        }
