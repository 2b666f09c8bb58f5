"""How training images are varied, as data."""

import dataclasses
from collections.abc import Sequence

KINDS = ("none", "shift", "cifar", "imagenet")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training images are varied: which box is cut out of each, and what Keras' own layers do to the batch.

    Args:
        kind: "none"; "shift" (4 black pixels on every side, then a crop of the old size); "cifar" (the paper's "+": the
            same with the training images' mean pixel, which normalisation makes zero, and of images a flip);
            "imagenet" (a crop of 8 to 100 % of the area and 3/4 to 4/3 of the aspect, resized, and a flip; of signals
            and volumes a crop of 8 % at least, each side drawn by itself, without a flip, or, where the `Framing`
            interpolates nothing, a crop of its size at any place).
        jitter: strength of `keras.layers.RandomColorJitter` in brightness, contrast and saturation; 0.4 on ImageNet.
        randaugment: strength, in (0, 1], of `keras.layers.RandAugment`, which draws two operations for each batch.
        mixup: alpha, in (0, 1], of `keras.layers.MixUp`.
        cutmix: factor, in (0, 1], of `keras.layers.CutMix`. With `mixup` too, each batch gets one of the two.
        flips: axes along which every other image, signal or volume is mirrored, 0 being the first.
        intensity: strength: values are multiplied by 1 - it to 1 + it, and moved by up to so many standard deviations
            of the image, signal or volume, up or down.

    Examples:
        >>> kd.data.Augmentation("cifar", mixup=0.2).mixes
        True
        >>> kd.data.Augmentation("imagenet", flips=(0, 1, 2), intensity=0.1).kind  # for volumes
        'imagenet'
    """

    kind: str = "none"
    jitter: float = 0.0
    randaugment: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    flips: Sequence[int] = ()
    intensity: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"augmentation must be one of {', '.join(KINDS)}. Received: {self.kind!r}")
        object.__setattr__(self, "flips", tuple(sorted({*self.flips})))
        if not {*self.flips} <= {0, 1, 2}:
            raise ValueError(f"flips must be axes, 0 to 2. Received: flips={self.flips}")
        for name in ("intensity", "jitter", "randaugment", "mixup", "cutmix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1]. Received: {name}={getattr(self, name)}")

    @property
    def mixes(self) -> bool:
        """Whether labels are mixed, so that they are `(batch, classes)` float32 and the loss must be categorical."""
        return bool(self.mixup or self.cutmix)
