"""A space of DenseNets, as KerasTuner knows it."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras_tuner

from keras_densenet.architecture import Architecture
from keras_densenet.models import DenseNet, DenseNetModel
from keras_densenet.search.space import declare, parse, text
from keras_densenet.training import RECIPES, KnownAccuracy, Recipe, Task
from keras_densenet.types import InputShape

Values = bool | float | str | None | list[Any] | tuple[float, ...]
"""Of a hyperparameter: fixed, a list, a range, or any of them as text."""
SEARCHED = ("growth_rate", "theta", "bottleneck", "dropout_rate", "stem_channels", "learning_rate", "weight_decay")
OF_RECIPE = ("dropout_rate", "learning_rate", "weight_decay")


class DenseNetHyperModel(keras_tuner.HyperModel):
    """DenseNets whose growth rate, layers per block, theta, ... are searched.

    Each argument from `blocks` to `weight_decay` may be a fixed value, a list of values, a tuple `(low, high)` or
    `(low, high, step)`, or any of them as text, see `space.parse`. Depth is searched in layers per block, so that every
    point is a valid DenseNet.

    Args:
        input_shape: `(height, width, channels)` of the images, or that of signals or volumes.
        classes: of the classifier. With 1, `build` gives it a sigmoid and binary cross-entropy, for labels 0 and 1.
        many_labels: whether `build` gives every class a sigmoid of its own, for labels `(batch, classes)` of 0, 1 and,
            where unknown, -1. (`search` sees it by the data.)
        blocks: for each dense block the number of its layers, such as `[(2, 6), (2, 12), [12, 24], 16]`, or as text
            `"2:6 2:12 12,24 16"`.
        equal_blocks: whether all blocks have the same number of layers, as in the paper's CIFAR networks; all are then
            given the same values.
        growth_rate, theta, bottleneck, dropout_rate: arguments of `DenseNet`.
        stem: "cifar", "imagenet" or "deep".
        stem_channels: channels of the stem. None: the paper's.
        learning_rate, weight_decay: of the recipe; ranges are searched on a logarithmic scale.
        recipe: the `training.Recipe` that gives the optimizer its other settings, or a dict of its fields. Default:
            "short".
        steps_per_epoch: lets `build` lay out the recipe's schedule. Default: the learning rate is constant.
        name, tunable: as for `keras_tuner.HyperModel`.

    Raises:
        ValueError: for values that cannot be read, no block, or `equal_blocks` of different values.

    Examples:
        >>> hypermodel = kd.DenseNetHyperModel((16, 16, 3), 3, blocks="1:2 1:2", growth_rate=(4, 8, 2), theta=0.5)
        >>> hypermodel.build(keras_tuner.HyperParameters()).output_shape
        (None, 3)
    """

    def __init__(
        self,
        input_shape: InputShape,
        classes: int,
        *,
        many_labels: bool = False,
        blocks: str | Sequence[Values] = "1:6 1:6 1:6",
        equal_blocks: bool = False,
        growth_rate: Values = "4:24:2",
        theta: Values = "0.3:1.0:0.1",
        bottleneck: Values = "yes,no",
        dropout_rate: Values = "0.0,0.1,0.2",
        stem: str = "cifar",
        stem_channels: Values = "8:32:8",
        learning_rate: Values = "0.03:0.3",
        weight_decay: Values = "0.00001:0.001",
        recipe: Recipe | Mapping[str, Any] | None = None,
        steps_per_epoch: int | None = None,
        name: str | None = "densenet",
        tunable: bool = True,
    ) -> None:
        super().__init__(name, tunable)
        self.input_shape, self.classes, self.stem = tuple(input_shape), classes, stem
        self.many_labels = many_labels or classes == 1
        self.equal_blocks = equal_blocks
        self.blocks = [parse(values) for values in (blocks.split() if isinstance(blocks, str) else blocks)]
        if not self.blocks:
            raise ValueError(f"blocks must name the layers of at least one block. Received: blocks={blocks!r}")
        if equal_blocks and any(values != self.blocks[0] for values in self.blocks):
            raise ValueError(f"equal_blocks needs the same values for all blocks. Received: blocks={blocks!r}")
        given = locals()
        self.values = {name: parse(given[name]) for name in SEARCHED}
        self.recipe = Recipe(**recipe) if isinstance(recipe, Mapping) else recipe or RECIPES["short"]
        self.steps_per_epoch = steps_per_epoch

    def get_config(self) -> dict[str, Any]:
        """The arguments, a dict for JSON."""
        config = {**self.space(), "recipe": dataclasses.asdict(self.recipe), "steps_per_epoch": self.steps_per_epoch}
        others = {"many_labels": self.many_labels, "name": self.name, "tunable": self.tunable}
        return {**json.loads(json.dumps(config)), **others}

    def space(self) -> dict[str, Any]:
        """Those of the arguments that say what is searched, a dict for JSON."""
        blocks = " ".join(map(text, self.blocks))
        shape = {"input_shape": list(self.input_shape), "classes": self.classes, "stem": self.stem}
        values = {name: text(values) for name, values in self.values.items()}
        return {**shape, "blocks": blocks, "equal_blocks": self.equal_blocks, **values}

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
        """Adds the hyperparameters to a `HyperParameters`, those of the architecture first.

        Returns:
            The values at its point, a dict by name, whatever the `hp.name_scope`.
        """
        blocks = {name: declare(hp, name, values) for name, values in self._blocks()}
        others = {name: declare(hp, name, values, log=name in OF_RECIPE) for name, values in self.values.items()}
        return {**blocks, **others}

    def network(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `DenseNet` at a point, a dict; `values` are the hyperparameters' by name."""
        layers = tuple(int(values.get(name, fixed)) for name, fixed in self._blocks())
        stem_channels = self._at("stem_channels", values)
        return {
            "blocks": layers * len(self.blocks) if self.equal_blocks else layers,
            "growth_rate": int(self._at("growth_rate", values)),
            "bottleneck": bool(self._at("bottleneck", values)),
            "theta": round(float(self._at("theta", values)), 6),  # gRPC's float32, and sums of a step
            "stem": self.stem,
            "stem_channels": None if stem_channels is None else int(stem_channels),
            "dropout_rate": round(float(self._at("dropout_rate", values)), 6),
            "input_shape": self.input_shape,
            "classes": self.classes,
        }

    def recipe_at(self, values: Mapping[str, Any]) -> Recipe:
        """The `Recipe` at a point."""
        changes: dict[str, Any] = {name: float(f"{self._at(name, values):.4g}") for name in OF_RECIPE}
        return dataclasses.replace(self.recipe, **changes)

    def build(self, hp: keras_tuner.HyperParameters) -> DenseNetModel:
        """Builds and compiles the `DenseNet` at a point, for integer labels, or columns of many labels."""
        values = self.declare_hyperparameters(hp)
        recipe, labels = self.recipe_at(values), [str(number) for number in range(self.classes)]
        task = Task.of_labels(labels, recipe, many=self.many_labels)
        model = DenseNet(**self.network(values), classifier_activation=task.activation)
        accuracy = KnownAccuracy() if task.many else "accuracy"
        model.compile(recipe.optimizer(self.steps_per_epoch), task.loss, metrics=[accuracy])
        model.optimizer.build(model.trainable_variables)  # or KerasTuner would load weights without its state
        return model

    def _blocks(self):
        if self.equal_blocks:
            return [("layers", self.blocks[0])]
        return [(f"block{number}", values) for number, values in enumerate(self.blocks, 1)]

    def _at(self, name, values):
        return values.get(name, self.values[name])


def constructor_call(network: Mapping[str, Any]) -> str:
    """The line of Python that builds a network, given as a dict of `DenseNet` arguments.

    Examples:
        >>> kd.search.constructor_call({"blocks": [1, 1], "growth_rate": 4, "input_shape": (16, 16, 3)})
        "kd.DenseNet(blocks=(1, 1), growth_rate=4, ...input_shape=(16, 16, 3), classes=1000)"
    """
    plan = Architecture.plan(**network)
    names = ("blocks", "growth_rate", "bottleneck", "theta", "stem", "stem_channels", "stem_pool", "dropout_rate")
    arguments = ", ".join(f"{name}={getattr(plan, name)!r}" for name in (*names, "input_shape", "classes"))
    return f"kd.DenseNet({arguments})"


def scaled(network: Mapping[str, Any], fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A network of the same shape with the largest growth rate, up to its own, that a budget allows.

    Args:
        network: a dict of `DenseNet` arguments.
        fits: whether such a dict is within the budget.

    Raises:
        ValueError: if none fits.

    Examples:
        >>> small = kd.search.Budget(max_parameters=50_000)
        >>> kd.search.scaled({"depth": 40, "growth_rate": 12, "classes": 10}, small.fits)["growth_rate"]
        6
    """
    for growth_rate in range(network["growth_rate"], 0, -1):
        smaller = {**network, "growth_rate": growth_rate}
        if fits(smaller):
            return smaller
    raise ValueError(f"No growth rate brings {network} within the budget")
