"""A functional model that knows it is a DenseNet."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_densenet import layers
from keras_densenet.architecture import Architecture, check_count
from keras_densenet.compat.tensorflow import number_from_afresh
from keras_densenet.layers.base import PaperLayer
from keras_densenet.layers.policy import own_policy, policy_named, wide_dtype
from keras_densenet.layers.preprocess import plain_mode
from keras_densenet.models.decisions import Decisions, checked
from keras_densenet.models.graph import Network, graph_of, rebuilt
from keras_densenet.models.stages import framing_of, node_of, stage_nodes
from keras_densenet.ops import Framing
from keras_densenet.types import Activation, Mode, Size


@keras.saving.register_keras_serializable("keras_densenet")
class DenseNetModel(Network):
    """A functional `keras.Model` that knows it is a DenseNet; `DenseNet` and `create_model` make it.

    Called without `training` it infers, whatever layers are in it.

    Examples:
        >>> sorted(model.pyramid_outputs)
        ['P0', 'P1']
        >>> model.labels = ["cat", "dog", "frog"]  # saved with it
        >>> model.reset_classifier(classes=2).output_shape
        (None, 2)
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if policies := [own_policy(layer) for layer in self.layers if isinstance(layer, PaperLayer)]:
            # By it `compile` decides whether to scale the loss.
            self.dtype_policy = next((one for one in policies if one.name == "mixed_float16"), policies[0])

    def make_train_function(self, force: bool = False) -> Callable[..., Any]:
        if not self.optimizer.built:  # while the step is traced, which is then traced once more
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
        if self.train_function is None or force:
            number_from_afresh()
        return super().make_train_function(force)

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        if getattr(x, "shape", [None])[0] == 0:  # where Keras' own fails
            return self.predict_on_batch(x)
        return super().predict(x, *args, **options)

    @property
    def architecture(self) -> Architecture:
        """The `Architecture` of this model, read off its layers."""
        stages: dict[str, Any] = self.stages
        blocks = [layer for layer in stages.values() if isinstance(layer, layers.DenseBlock)]
        stem, transition, classifier = stages["stem"], stages.get("transition1"), stages.get("classifier")
        return Architecture(
            blocks=tuple(block.num_layers for block in blocks),
            growth_rate=blocks[0].growth_rate,
            bottleneck=blocks[0].bottleneck,
            theta=transition.theta if transition else 1.0,
            stem=stem.kind,
            stem_channels=stem.filters,
            dropout_rate=blocks[0].dropout_rate,
            classes=classifier and classifier.units,
            input_shape=tuple(node_of(self, stem).input_tensors[0].shape[1:]),
            stem_pool=stages["stem_pool"].kind if "stem_pool" in stages else "max",
        )

    @property
    def stages(self) -> dict[str, keras.Layer]:
        """The network's layers by the names of its stages, "stem", "block1", "transition1", ..., "head", "classifier".

        They are told apart by their classes and their place in the graph; what they are called does not matter, nor
        what else stands before the stem or behind the head.
        """
        found = {name: node.operation for name, node in stage_nodes(self).items()}
        last = self.layers[-1]
        return {**found, "classifier": last} if isinstance(last, keras.layers.Dense) else found

    @property
    def pyramid_outputs(self) -> dict[str, keras.KerasTensor]:
        """Features by level, symbolic: `{"P1": ..., ..., "P5": ...}`, where level p has stride 2**p.

        P1 is an ImageNet stem before its pool; then comes every block, as it leaves the block (all its features,
        before the transition's BN); the last level is the head's, BN - ReLU over the last block. A CIFAR network has
        P0, P1 and P2.
        """
        nodes = stage_nodes(self)
        blocks = [node for node in nodes.values() if isinstance(node.operation, layers.DenseBlock)]
        pooled = "stem_pool" in nodes
        outputs = {"P1": nodes["stem"].output_tensors[0]} if pooled else {}
        for level, node in enumerate([*blocks[:-1], nodes["head"]], 2 if pooled else 0):
            outputs[f"P{level}"] = node.output_tensors[0]
        return outputs

    @property
    def preprocessing(self) -> Mode | None:
        """The `mode` of `layers.Preprocess` that the weights were trained behind; None where it is not known.

        It is saved with the model. Loading published weights sets it; whoever trains may set it.
        """
        return self.stages["stem"].preprocessing

    @preprocessing.setter
    def preprocessing(self, mode: Mode | None) -> None:
        mode = None if mode is None else plain_mode(mode)
        for layer in self.layers:
            if isinstance(layer, layers.Preprocess) and mode not in (None, layer.mode):
                raise ValueError(
                    f"The weights need preprocessing {mode!r}, but {layer.name!r} in front of the network does "
                    f"{layer.mode!r}: build it with Preprocess({mode!r})"
                )
        self.stages["stem"].preprocessing = mode

    @property
    def framing(self) -> Framing:
        """How an image file becomes this model's input: the `Framing` that the weights were trained with.

        It is saved with the model; training on images and loading published weights set it. A model that takes images
        of any size takes them as they are.
        """
        return framing_of(self)

    @framing.setter
    def framing(self, framing: Framing) -> None:
        if framing_of(self).size not in (None, framing.size):
            raise ValueError(f"framing must be of the model's size {framing_of(self).size}. Received: {framing}")
        self.stages["stem"].framing = {"crop_pct": framing.crop_pct, "interpolation": framing.interpolation}

    @property
    def labels(self) -> list[str] | None:
        """The names of the classes, saved with the model; None where they are not known."""
        return None if self._labels is None else list(self._labels)

    @labels.setter
    def labels(self, labels: Sequence[str] | None) -> None:
        if labels is not None and (isinstance(labels, str) or len(labels) != self.output_shape[-1]):
            raise ValueError(f"labels must be a list of {self.output_shape[-1]} names. Received: {labels!r}")
        self._labels = None if labels is None else tuple(map(str, labels))

    @property
    def decisions(self) -> Decisions | None:
        """The `Decisions` about this model's answers, saved with it; None where there are none.

        `training.calibrate` makes them. Calling the model does not use them; `training.evaluate`, `training.predict`
        and exports do.
        """
        return None if self._decisions is None else Decisions(*self._decisions)

    @decisions.setter
    def decisions(self, decisions: Decisions | None) -> None:
        self._decisions = None if decisions is None else tuple(checked(decisions, self.output_shape[-1]))

    _labels: tuple[str, ...] | None = None
    _decisions: tuple[Any, ...] | None = None

    def get_config(self) -> dict[str, Any]:
        decisions = self.decisions
        return {**super().get_config(), "labels": self.labels, "decisions": decisions and decisions.as_json()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "DenseNetModel":
        config = dict(config)
        labels, decisions = config.pop("labels", None), config.pop("decisions", None)
        model = super().from_config(config, custom_objects)
        model.labels, model.decisions = labels, decisions and Decisions(**decisions)
        return model

    @property
    def is_preprocessed(self) -> bool:
        """Whether something changes the values of pixels in front of the network, a layer or tensor operations."""
        return bool(self._fronts)

    def with_preprocessing(
        self,
        mode: Mode | None = None,
        size: Size | None = None,
        crop_pct: float | None = None,
        interpolation: str | None = None,
    ) -> "DenseNetModel":
        """Makes a model that takes raw pixels: `layers.Preprocess` in front of this network; they share their weights.

        The layers are other objects than this network's, and so `get_layer(...).output` is of the model itself.

        Args:
            mode: "torch", "caffe", "unit" or `{"mean": ..., "std": ...}`, as in `layers.Preprocess`. Default: what the
                weights were trained behind, `model.preprocessing`; set that to use another with them.
            size: to which images are resized and cropped. None: images come in the network's own size.
            crop_pct: the part of the resized image that the crop keeps, in (0, 1]. Default: what published weights were
                evaluated with, otherwise all of it.
            interpolation: "bilinear" or "bicubic". Default: what published weights were evaluated with, or "bilinear".

        Returns:
            A `DenseNetModel`; with a `size` it takes images of any size, one size in a batch. `self` is left as it was.

        Raises:
            ValueError: if there is preprocessing in front already, no mode is known, or it is not the weights' own.

        Examples:
            >>> pixels = model.with_preprocessing("torch")
            >>> pixels.predict(images, verbose=0).shape  # raw pixels in 0..255
            (4, 3)
        """
        if self._fronts:
            kind = "layer" if isinstance(self._fronts[0], keras.Layer) else "operation"
            raise ValueError(f"The model already has preprocessing in front, its {kind} {self._fronts[0].name!r}")
        known = self.preprocessing
        if mode is not None and known not in (None, plain_mode(mode)):
            raise ValueError(
                f"The weights were trained behind mode={known!r}; to use another with them, set "
                f"model.preprocessing first. Received: mode={mode!r}"
            )
        mode = known if mode is None else mode
        if mode is None:
            raise ValueError('mode must be given ("torch", "caffe", "unit", ...): it is not known for these weights')
        given = {"crop_pct": crop_pct, "interpolation": interpolation}
        noted = self.stages["stem"].framing if size is not None else {}
        framing = {**noted, **{name: value for name, value in given.items() if value is not None}}
        dimensions = len(self.input_shape) - 2
        layer = layers.Preprocess(mode, size, **framing, dimensions=dimensions, name="preprocess")
        *own_size, channels = self.input_shape[1:]
        if layer.size and len(own_size) == 2 and own_size not in ([None, None], [*layer.size]):
            raise ValueError(f"size must be the network's own {tuple(own_size)}. Received: size={size!r}")
        sizes = [None] * len(own_size) if layer.size else own_size
        image = keras.Input((*sizes, channels), name="image")
        return rebuilt(self, DenseNetModel, front=layer, image=image)

    def reset_classifier(
        self, classes: int, classifier_activation: Activation = "softmax", pooling: str = "avg"
    ) -> "DenseNetModel":
        """Makes a model with a new classifier on the same backbone; the two share their weights.

        Args:
            classes: outputs of the new classifier.
            classifier_activation: its activation; None gives logits.
            pooling: "avg" or "max", over the image before the classifier.

        Returns:
            A `DenseNetModel`; `self` is left as it was.
        """
        check_count("classes", classes)
        if pooling not in ("avg", "max"):
            raise ValueError(f'pooling must be "avg" or "max". Received: pooling={pooling!r}')
        head = stage_nodes(self)["head"]
        prefix = head.operation.name.removesuffix("head") if head.operation.name.endswith("head") else ""
        dtype = head.operation.dtype_policy
        pooled = pool(head.output_tensors[0], pooling, prefix, dtype)
        outputs = classifier_of(classes, classifier_activation, prefix, dtype)(pooled)
        return DenseNetModel(self.input, outputs, name=self.name)

    @property
    def _fronts(self):
        before = keras.Function(self.inputs, stage_nodes(self)["stem"].input_tensors[0]).operations
        return [operation for operation in before if _changes_values(operation)]


keras.saving.get_custom_objects()["DenseNetModel"] = DenseNetModel  # as Keras calls it in legacy `.h5` files


def pool(x, pooling, prefix, dtype):
    """The features averaged, or their maxima, over the image; as they are where `pooling` is None."""
    if pooling is None:
        return x
    kind = {"avg": "Average", "max": "Max"}[pooling]
    layer = getattr(keras.layers, f"Global{kind}Pooling{len(x.shape) - 2}D")
    return layer(name=f"{prefix}pool", dtype=_last_policy(dtype, f"{prefix}pool"))(x)


def classifier_of(classes, activation, prefix, dtype):
    """The layer that ends a network, whose logits are float32 at least."""
    name = f"{prefix}classifier"
    return keras.layers.Dense(classes, activation, name=name, dtype=_last_policy(dtype, name))


def _last_policy(dtype, name):
    """The policy of a layer behind the head: float32 at least, unless a `DTypePolicyMap` has one for its name."""
    policy = policy_named(dtype, name)
    is_default = policy is getattr(keras.dtype_policies.get(dtype), "default_policy", policy)
    return wide_dtype(policy) if is_default else policy


# Tensor operations that move pixels, or give them another type, and leave their values.
_KEEPING = {"BroadcastTo", "Cast", "Concatenate", "ExpandDims", "Flip", "GetItem", "Pad", "Repeat", "Reshape"}
_KEEPING |= {"Resize", "Squeeze", "Stack", "Tile", "Transpose"}


def _changes_values(operation):
    if (inner := graph_of(operation)) is not None:
        return any(map(_changes_values, inner.operations))
    if isinstance(operation, keras.Layer):
        return isinstance(operation, (layers.Preprocess, keras.layers.Rescaling, keras.layers.Normalization))
    return type(operation).__name__ not in _KEEPING
