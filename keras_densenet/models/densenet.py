"""DenseNet: the layers put together into a functional model."""

import dataclasses
import logging
from collections.abc import Sequence

import keras

from keras_densenet import layers
from keras_densenet.architecture import Architecture
from keras_densenet.layers.policy import check_policy
from keras_densenet.models.graph import Network
from keras_densenet.models.model import DenseNetModel, classifier_of, pool
from keras_densenet.types import Activation, DType, InputShape, Path
from keras_densenet.weights import load_weights
from keras_densenet.weights.catalogue import find

_CLASSES, _ACTIVATION = 1000, "softmax"  # keras.applications' defaults, which stand for what published weights have


def DenseNet(
    blocks: Sequence[int] | None = None,
    depth: int | None = None,
    growth_rate: int = 12,
    bottleneck: bool = True,
    theta: float = 0.5,
    stem: str | None = None,
    stem_channels: int | None = None,
    dropout_rate: float = 0.0,
    include_top: bool = True,
    weights: Path | None = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: InputShape | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Activation = "softmax",
    name: str = "densenet",
    prefix: str = "",
    stem_pool: str = "max",
    dtype: DType = None,
) -> DenseNetModel:
    """Builds any DenseNet of the paper, and timm's with a deep stem and anti-aliased pool.

    Args:
        blocks: layers of each dense block, such as `(6, 12, 24, 16)`. Give this or `depth`.
        depth: L, for the paper's three equal blocks: 3n + 4 without bottleneck, 6n + 4 with.
        growth_rate: k, the channels that every layer adds.
        bottleneck: whether layers have a 1x1 bottleneck of 4k channels (-B).
        theta: compression of the transitions, in (0, 1]; 1 keeps all channels, less is -C.
        stem: "imagenet" (7x7/2, BN, ReLU, pool), "deep" (the same with three 3x3 convolutions) or "cifar" (a bare 3x3
            convolution). Default: "imagenet" with `blocks`, "cifar" with `depth`.
        stem_channels: the stem's channels. Default: 2k, and 16 for a CIFAR network that is not -BC.
        dropout_rate: dropout after every convolution but the stem's; the paper has 0.2 where it does not augment.
        include_top: whether to end in global average pooling and a classifier.
        weights: None (random), or what `load_weights` takes: "imagenet", another name from `list_weights()`, or the
            path of a file of this package, keras.applications, torchvision, timm or MONAI. With published weights
            `classes` other than theirs make a new classifier, which one line of the log says; otherwise their channels,
            classes and activation stand for the defaults. Weights whose preprocessing has no name
            ("torchxrayvision:all") get a `Preprocess` in front, unless there is an `input_tensor`.
        input_tensor: Keras tensor `(batch, height, width, channels)` to use as the image; or one of signals `(batch,
            length, channels)` or volumes `(batch, depth, height, width, channels)`.
        input_shape: `(height, width, channels)` of the image, `(length, channels)` of a signal or `(depth, height,
            width, channels)` of a volume, without `input_tensor`: the network has as many dimensions. Sizes may be
            None, any number of channels goes. Default with the classifier: `(224, 224, 3)` and, behind a CIFAR stem,
            `(32, 32, 3)`; without it `(None, None, 3)`.
        pooling: without the classifier: None (features `(batch, ..., channels)`), "avg" or "max"
            (`(batch, channels)`).
        classes: classifier outputs.
        classifier_activation: of the classifier; None gives logits.
        name: of the model.
        prefix: put before the names of all its layers, so that several networks can be parts of one functional model;
            in a file of `save_weights` they have their names without it.
        stem_pool: what follows the stem, unless that is CIFAR's: "max" (3x3/2 max-pool) or "blur" (3x3 max-pool, then a
            3x3/2 binomial filter, against aliasing).
        dtype: what it computes in and keeps its weights in: a Keras dtype policy of floats ("mixed_bfloat16",
            "float16", ...) or a `DTypePolicyMap` from the names of layers. Default: `keras.config.dtype_policy()`. In
            16 bits, normalisation is still computed in float32, and global pooling and classifier are float32 unless
            the map names them.

    Returns:
        A `DenseNetModel`, a functional `keras.Model`.

    Raises:
        ValueError: names the argument, what was received and what is allowed.

    Examples:
        >>> model = kd.DenseNet(depth=40, growth_rate=12, classes=10)  # DenseNet-BC-40-12, 0.18 M parameters
        >>> kd.DenseNet(blocks=(1, 1), growth_rate=4, stem="cifar", input_shape=(16, 16, 3), classes=3).output_shape
        (None, 3)

    Source: Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional Networks, CVPR 2017.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            'keras_densenet computes in NHWC: call keras.config.set_image_data_format("channels_last"). '
            f"Received: {keras.config.image_data_format()!r}"
        )
    if pooling not in (None, "avg", "max"):
        raise ValueError(f'pooling must be None, "avg" or "max". Received: pooling={pooling!r}')
    if input_tensor is not None:
        if not keras.backend.is_keras_tensor(input_tensor) or len(input_tensor.shape) not in (3, 4, 5):
            raise ValueError(
                "input_tensor must be a Keras tensor (batch, height, width, channels), or one of signals or volumes. "
                f"Received: {type(input_tensor).__name__} of shape {getattr(input_tensor, 'shape', None)}"
            )
        if input_shape is not None and tuple(input_shape) != tuple(input_tensor.shape[1:]):
            raise ValueError(
                "input_shape must be left out, or equal the shape of input_tensor. "
                f"Received: input_shape={tuple(input_shape)}, input_tensor of {tuple(input_tensor.shape[1:])}"
            )
        input_shape = tuple(input_tensor.shape[1:])
    check_policy(dtype)
    plan = Architecture.plan(
        blocks=blocks,
        depth=depth,
        growth_rate=growth_rate,
        bottleneck=bottleneck,
        theta=theta,
        stem=stem,
        stem_channels=stem_channels,
        stem_pool=stem_pool,
        dropout_rate=dropout_rate,
        include_top=include_top,
        classes=classes,
        input_shape=input_shape,
    )

    checkpoint = find(weights, plan)
    if checkpoint:
        plan, classifier_activation = _as_published(checkpoint, plan, input_shape, classifier_activation)

    image = keras.Input(plan.input_shape, name=f"{prefix}image") if input_tensor is None else input_tensor
    x = image
    if checkpoint and input_tensor is None and isinstance(checkpoint.preprocessing, dict):
        x = layers.Preprocess(checkpoint.preprocessing, name=f"{prefix}preprocess")(x)
    for stage in plan.stages:
        x = _layer(stage, plan, name=prefix + stage.name, dtype=dtype)(x)
    x = pool(x, "avg" if include_top else pooling, prefix, dtype)
    if include_top:
        x = classifier_of(plan.classes, classifier_activation, prefix, dtype)(x)
    sources = keras.utils.get_source_inputs(image)
    model = DenseNetModel(sources if len(sources) > 1 else sources[0], x, name=name)
    if weights is not None:
        has_new = checkpoint and plan.classes not in (None, _CLASSES) and not _has_classifier(checkpoint, plan)
        if load_weights(model, weights, skip_mismatch=has_new):
            theirs = f"for {checkpoint.classes}" if checkpoint.include_top else "no classifier"
            logging.getLogger("keras_densenet").warning(
                f"The classifier for {plan.classes} classes is new: {checkpoint.name} has {theirs}"
            )
    return model


def _has_classifier(checkpoint, plan):
    return checkpoint.include_top and checkpoint.classes == plan.classes


def _as_published(checkpoint, plan, input_shape, activation):
    """The plan and the activation with a checkpoint's own in the place of defaults."""
    if plan.classes == _CLASSES and checkpoint.include_top:
        plan = dataclasses.replace(plan, classes=checkpoint.classes)
    if activation == _ACTIVATION and _has_classifier(checkpoint, plan):
        activation = checkpoint.activation
    if input_shape is None:
        plan = dataclasses.replace(plan, input_shape=(*plan.input_shape[:2], checkpoint.channels))
    return plan, activation


def feature_pyramid(model: DenseNetModel, levels: Sequence[str] | None = None) -> keras.Model:
    """Makes a model of a DenseNet's pyramid features, for detection and segmentation heads; weights are shared.

    Args:
        model: a `DenseNetModel`.
        levels: names from `model.pyramid_outputs`, such as `["P3", "P4", "P5"]`. Default: all.

    Returns:
        A `keras.Model` from the model's inputs to a dict of features `{level: (batch, h, w, channels)}`; called without
        `training` it infers.

    Raises:
        ValueError: for a level that the model does not have.

    Examples:
        >>> pyramid = kd.feature_pyramid(model, ["P0", "P1"])
        >>> {level: tuple(features.shape) for level, features in pyramid(images).items()}
        {'P0': (4, 16, 16, 12), 'P1': (4, 8, 8, 10)}
    """
    if isinstance(levels, str):
        raise ValueError(f'levels must be a list of names, such as ["{levels}"]. Received: levels={levels!r}')
    outputs = pyramid(model, model.pyramid_outputs if levels is None else levels)
    return Network(model.input, outputs, name=f"{model.name}_pyramid")


def pyramid(model, levels):
    """`{level: features}` of some levels, symbolic; ValueError for one that the model does not have."""
    outputs = getattr(model, "pyramid_outputs", {}) if levels else {}
    if unknown := [level for level in levels if level not in outputs]:
        raise ValueError(f"levels must be among {', '.join(outputs)}. Received: {', '.join(map(str, unknown))}")
    return {level: outputs[level] for level in levels}


_STEMS = {kind.kind: kind for kind in (layers.ImageNetStem, layers.DeepStem, layers.CifarStem)}
_STEM_POOLS = {kind.kind: kind for kind in (layers.StemPool, layers.BlurPool)}


def _layer(stage, plan, **options):
    if stage.kind == "stem":
        return _STEMS[plan.stem](stage.out_channels, **options)
    if stage.kind == "pool":
        return _STEM_POOLS[plan.stem_pool](**options)
    if stage.kind == "block":
        return layers.DenseBlock(
            stage.layers, plan.growth_rate, plan.bottleneck, dropout_rate=plan.dropout_rate, **options
        )
    if stage.kind == "transition":
        return layers.Transition(plan.theta, dropout_rate=plan.dropout_rate, **options)
    return layers.Head(**options)
