"""Seeing a DenseNet: what it is made of, which features it reuses, where it looks, how gradients reach it."""

from typing import TYPE_CHECKING

from keras_densenet.lazy import exports

if TYPE_CHECKING:
    from keras_densenet.explain.cam import METHODS, ClassActivation, grad_cam, overlay
    from keras_densenet.explain.drawing import draw_captioned, draw_gradients, draw_network, draw_reuse
    from keras_densenet.explain.gradient import KernelGradient, gradient_flow
    from keras_densenet.explain.reuse import BlockReuse, feature_reuse, observations
    from keras_densenet.explain.seen import draw_activation
    from keras_densenet.explain.table import StageRow, describe
    from keras_densenet.explain.timing import stage_seconds
    from keras_densenet.models.flat import flat
else:
    __getattr__, __dir__ = exports(__name__)

__all__ = [
    "METHODS",
    "BlockReuse",
    "ClassActivation",
    "KernelGradient",
    "StageRow",
    "describe",
    "draw_activation",
    "draw_captioned",
    "draw_gradients",
    "draw_network",
    "draw_reuse",
    "feature_reuse",
    "flat",
    "grad_cam",
    "gradient_flow",
    "observations",
    "overlay",
    "stage_seconds",
]
