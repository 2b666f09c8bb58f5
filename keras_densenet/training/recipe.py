"""How a network is trained, as data."""

import csv
import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from keras_densenet.data.variation import Augmentation

if TYPE_CHECKING:
    import keras

    from keras_densenet.training.optimizer import PaperSGD
    from keras_densenet.types import Mode

_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
DROPS = (0.5, 0.75)  # of the paper on CIFAR and SVHN
_NORMALISATIONS = ("data", "torch", "caffe", "unit", "each")
_RULES = {
    "be at least 1": (lambda value: value >= 1, ("epochs", "batch_size", "accumulate")),
    "be positive": (lambda value: value > 0, ("learning_rate",)),
    "not be negative": (lambda value: value >= 0, ("warmup_epochs", "weight_decay", "gamma", "patience", "seed")),
    "be in [0, 1)": (lambda value: 0 <= value < 1, ("momentum", "label_smoothing", "ema")),
    "be in [0, 1) or None": (lambda value: value is None or 0 <= value < 1, ("dropout_rate",)),
    "rise, all in (0, 1)": (lambda value: list(value) == sorted(value) and all(0 < m < 1 for m in value), ("drops",)),
    "be cosine or steps": (("cosine", "steps").__contains__, ("schedule",)),
    "be cross_entropy or focal": (("cross_entropy", "focal").__contains__, ("loss",)),
    "be shuffled or balanced": (("shuffled", "balanced").__contains__, ("sampling",)),
    f"be one of {', '.join(_POLICIES)}": (_POLICIES.__contains__, ("mixed_precision",)),
    f"be one of {', '.join(_NORMALISATIONS)}, or LOW:HIGH": (
        lambda value: value in _NORMALISATIONS or _range(value),
        ("normalise",),
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum, and all else that decides what a run computes. `RECIPES` holds the named ones.

    A field's annotation says what it means; it is also its help on the command line.

    Raises:
        ValueError: for a field out of range.

    Examples:
        >>> kd.training.Recipe(epochs=20, learning_rate=0.05).batch_size
        64
        >>> sorted(kd.training.RECIPES)
        ['cifar', 'imagenet', 'short', 'svhn', 'transfer']
    """

    epochs: Annotated[int, "Passes over the training images."] = 30
    batch_size: Annotated[int, "Images in an update, of all devices together."] = 64
    learning_rate: Annotated[float, "Highest learning rate."] = 0.1
    schedule: Annotated[str, "How the learning rate falls: cosine or steps."] = "cosine"
    drops: Annotated[tuple[float, ...], "With steps: shares of the run after which the rate is divided by 10."] = ()
    warmup_epochs: Annotated[float, "With cosine: epochs in which the learning rate rises from 0."] = 0.0
    momentum: Annotated[float, "Nesterov momentum."] = 0.9
    weight_decay: Annotated[float, "L2 decay of all trainable weights, as part of the gradient."] = 1e-4
    loss: Annotated[str, "cross_entropy or focal; of many labels, each by itself."] = "cross_entropy"
    gamma: Annotated[float, "With focal: how much less counts what is nearly right."] = 2.0
    class_weights: Annotated[
        str | dict[str, float], "none, balanced, or a CSV file of label,weight: what a label counts where it is there."
    ] = "none"
    sampling: Annotated[str, "shuffled, or balanced: every class as often as the others."] = "shuffled"
    label_smoothing: Annotated[float, "Share of a label that is given to all classes alike."] = 0.0
    ema: Annotated[float, "Decay of a moving average of the weights, which becomes the result; 0 for none."] = 0.0
    accumulate: Annotated[int, "Parts in which the images of an update pass, to save memory."] = 1
    mixed_precision: Annotated[str, "Keras dtype policy: float32, mixed_bfloat16, mixed_float16."] = "float32"
    augmentation: Annotated[str, "Of training images: none, shift, cifar (shift and flip) or imagenet."] = "shift"
    flips: Annotated[tuple[int, ...], "Axes, from 0, along which every other image is mirrored."] = ()
    intensity: Annotated[float, "Strength of a random factor and offset of all values of an image, in [0, 1]."] = 0.0
    jitter: Annotated[float, "Strength of random brightness, contrast and saturation, in [0, 1]."] = 0.0
    randaugment: Annotated[float, "Strength of RandAugment, in [0, 1]."] = 0.0
    mixup: Annotated[float, "Alpha of MixUp, in [0, 1]."] = 0.0
    cutmix: Annotated[float, "Strength of CutMix, in [0, 1]."] = 0.0
    normalise: Annotated[
        str,
        "Of pixels: torch, caffe, unit; each: by each image's own mean and deviation; LOW:HIGH: numbers that become 0 "
        "and 1; or data: by the data, or as published weights need it.",
    ] = "data"
    monitor: Annotated[
        str | None, "What makes an epoch the best, such as val_loss. Default: val_accuracy; of many labels val_auroc."
    ] = None
    patience: Annotated[int, "Epochs without a better one after which the run ends; 0 for none."] = 0
    dropout_rate: Annotated[float | None, "After every convolution. Default: 0.2 without augmentation, else 0."] = None
    xla: Annotated[bool | None, "Compile with XLA. Default: wherever that works."] = None
    seed: Annotated[int, "Of weights, order, augmentation and dropout."] = 0

    def __post_init__(self):
        for name in ("drops", "flips"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list where it comes from a file
        object.__setattr__(self, "class_weights", _table(self.class_weights))
        for rule, (holds, names) in _RULES.items():
            for name in names:
                if not holds(value := getattr(self, name)):
                    raise ValueError(f"{name} must {rule}. Received: {name}={value!r}")
        self.variation()  # checks its own
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate must divide the batch_size. Received: accumulate={self.accumulate}, "
                f"batch_size={self.batch_size}"
            )
        if self.schedule == "steps" and self.warmup_epochs:
            raise ValueError(f'warmup_epochs needs schedule="cosine". Received: warmup_epochs={self.warmup_epochs}')
        if self.schedule == "cosine" and self.drops:
            raise ValueError(f'drops must come with schedule="steps". Received: drops={self.drops}')
        if self.schedule == "steps" and not self.drops:
            raise ValueError(
                'drops must have at least one share with schedule="steps", such as 0.5. Received: drops=()'
            )

    def changed(self, **changes: Any) -> "Recipe":
        """This recipe with other fields, as somebody asks for them who has not named the others.

        With another `schedule` goes what belongs to the old one; steps fall after a half and three quarters of the run,
        as in the paper, unless `drops` says otherwise.

        Args:
            **changes: fields.

        Returns:
            A `Recipe`.

        Raises:
            ValueError: for a field out of range, or one that would have no effect.
        """
        schedule = changes.get("schedule", self.schedule)
        if schedule != self.schedule:
            changes = {"warmup_epochs": 0.0, "drops": DROPS if schedule == "steps" else (), **changes}
        recipe = dataclasses.replace(self, **changes)
        if "gamma" in changes and recipe.loss != "focal":
            raise ValueError(f'gamma must come with loss="focal". Received: gamma={recipe.gamma}')
        if changes.get("warmup_epochs", 0) >= recipe.epochs:
            raise ValueError(
                f"warmup_epochs must be less than epochs={recipe.epochs}. "
                f"Received: warmup_epochs={recipe.warmup_epochs}"
            )
        return recipe

    @property
    def dropout(self) -> float:
        """The rate of dropout: the paper's 0.2 where images are not varied, unless `dropout_rate` says otherwise."""
        if self.dropout_rate is None:
            return 0.2 if self.augmentation == "none" else 0.0
        return self.dropout_rate

    @property
    def mode(self) -> "Mode | None":
        """The `mode` of `layers.Preprocess` that `normalise` means; None where the data decide."""
        ends = _range(self.normalise)
        return {"low": ends[0], "high": ends[1]} if ends else None if self.normalise == "data" else self.normalise

    def variation(self) -> Augmentation:
        """The `Augmentation` of the training images."""
        return Augmentation(
            self.augmentation, self.jitter, self.randaugment, self.mixup, self.cutmix, self.flips, self.intensity
        )

    def learning_rates(self, steps: int) -> "keras.optimizers.schedules.LearningRateSchedule":
        """The schedule of the learning rate, for epochs of so many steps."""
        from keras.optimizers import schedules

        total, warmup = self.epochs * steps, round(min(self.warmup_epochs, self.epochs - 1) * steps)
        if self.schedule == "steps":
            values = [self.learning_rate * 0.1**i for i in range(len(self.drops) + 1)]
            # The boundary is the last step at the old rate; steps count from 0.
            return schedules.PiecewiseConstantDecay([round(drop * total) - 1 for drop in self.drops], values)
        if not warmup:
            return schedules.CosineDecay(self.learning_rate, total)
        return schedules.CosineDecay(0.0, total - warmup, warmup_target=self.learning_rate, warmup_steps=warmup)

    def optimizer(self, updates: int | None = None) -> "PaperSGD":
        """The optimizer, for epochs of so many updates; without that number its learning rate is constant."""
        from keras_densenet.training.optimizer import PaperSGD

        steps = updates and updates * self.accumulate  # Keras counts and averages parts of updates as steps
        return PaperSGD(
            self.learning_rates(steps) if steps else self.learning_rate,
            self.momentum,
            self.weight_decay,
            use_ema=self.ema > 0,
            ema_momentum=self.ema ** (1 / self.accumulate) or 0.99,
            gradient_accumulation_steps=self.accumulate if self.accumulate > 1 else None,
        )


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's fields from a JSON file, with the defaults of those that there were not when it was written."""
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    return {**defaults, "drops": [], "flips": [], **fields}


def _range(text):
    """Two numbers of "LOW:HIGH"; None if they are none."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        return None
    return (low, high) if -math.inf < low < high < math.inf else None


def _table(weights):
    """Class weights as a word or a dict of floats, read from a file where they are its path."""
    if weights in ("none", "balanced"):
        return weights
    try:
        if not isinstance(weights, dict):
            with open(weights, newline="", encoding="utf-8") as file:
                weights = dict(csv.reader(file))
        found = {str(label): float(weight) for label, weight in weights.items()}
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            "class_weights must be none, balanced, a dict of label to weight, or a CSV file with a label and its "
            f"weight in each line. Received: class_weights={weights!r} ({error})"
        ) from None
    if not found or not all(math.isfinite(weight) and weight > 0 for weight in found.values()):
        raise ValueError(f"class_weights must be positive numbers. Received: class_weights={found}")
    return found


_STEPS: dict[str, Any] = {"schedule": "steps", "drops": DROPS}
RECIPES = {
    "short": Recipe(warmup_epochs=2.0),
    "cifar": Recipe(epochs=300, augmentation="cifar", **_STEPS),
    "svhn": Recipe(epochs=40, augmentation="none", normalise="unit", **_STEPS),
    "imagenet": Recipe(
        epochs=90, batch_size=256, schedule="steps", drops=(1 / 3, 2 / 3), augmentation="imagenet", normalise="torch"
    ),
    "transfer": Recipe(epochs=15, learning_rate=0.01, warmup_epochs=1.0, normalise="torch"),
}
"""The paper's recipes (section 4.2), and two of ours: "short" for small budgets, "transfer" for published weights."""
