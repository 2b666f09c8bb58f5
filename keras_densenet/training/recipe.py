"""How a network is trained, as data."""

import dataclasses

import keras


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum, and one half-cosine of the learning rate after a linear warm-up.

    Args:
        epochs: passes over the training images.
        batch_size: images in a batch.
        learning_rate: the highest.
        warmup_epochs: epochs in which it rises from 0.
        momentum: of SGD.
        weight_decay: on all trainable weights, as Keras applies it, beside the gradient. With momentum 0.9 it shrinks
            them as much as the paper's 1e-4 does, which is part of the gradient.
        seed: of weights, order, shifts and dropout.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 0.1
    warmup_epochs: int = 2
    momentum: float = 0.9
    weight_decay: float = 1e-3
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Received: {name}={getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive. Received: learning_rate={self.learning_rate}")

    def optimizer(self, steps):
        """The optimizer, for epochs of so many steps."""
        warmup = min(self.warmup_epochs, self.epochs - 1) * steps
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else self.learning_rate,
            decay_steps=self.epochs * steps - warmup,
            warmup_target=self.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
        return keras.optimizers.SGD(schedule, self.momentum, nesterov=True, weight_decay=self.weight_decay)
