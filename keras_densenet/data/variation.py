"""How training images are varied, as data."""

import dataclasses

KINDS = ("none", "shift", "cifar", "imagenet")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are varied: which box is cut out of each, and what Keras' own layers do to the batch.

    Args:
        kind: "none"; "shift" (4 black pixels on every side, then a crop of the old size); "cifar" (the paper's "+": the
            same with the training images' mean pixel, which normalisation makes zero, and a flip); "imagenet" (a
            crop of 8 to 100 % of the area and 3/4 to 4/3 of the aspect, resized, and a flip).
        jitter: strength of `keras.layers.RandomColorJitter` in brightness, contrast and saturation; 0.4 on ImageNet.
        randaugment: strength, in (0, 1], of `keras.layers.RandAugment`, which draws two operations for each batch.
        mixup: alpha, in (0, 1], of `keras.layers.MixUp`.
        cutmix: factor, in (0, 1], of `keras.layers.CutMix`. With `mixup` too, each batch gets one of the two.

    Examples:
        >>> kd.data.Augmentation("cifar", mixup=0.2).mixes
        True
    """

    kind: str = "none"
    jitter: float = 0.0
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"augmentation must be one of {', '.join(KINDS)}. Received: {self.kind!r}")
        for name in ("jitter", "randaugment", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]. Received: {name}={getattr(self, name)}")

    @property
    def mixes(self) -> bool:
        """Whether labels are mixed, so that they are `(batch, classes)` float32 and the loss must be categorical."""
        return bool(self.mixup or self.cutmix)
