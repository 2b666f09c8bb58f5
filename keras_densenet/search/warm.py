"""Warm starts: a network that begins with those weights of a trained neighbour that have the same names and shapes."""

import math

from keras_densenet.architecture import Architecture
from keras_densenet.cost import cost
from keras_densenet.models import DenseNet
from keras_densenet.weights.files import load_alike

LEAST = 0.25  # the share of a network's parameters that makes another one its neighbour


def neighbour(network, others):
    """Which of some networks has most of another one's tensors: its key, or None where none has a quarter.

    Args:
        network: a dict of `DenseNet` arguments.
        others: `{key: such a dict}`; of those that have as much it is the first.
    """
    shares = {key: shared(network, other) for key, other in others.items()}
    best = max(shares, key=shares.__getitem__, default=None)
    return best if best is not None and shares[best] >= LEAST else None


def shared(network, other):
    """The share of a network's parameters that are in tensors which another one has, too; nothing is built."""
    here, there = _tensors(network), _tensors(other)
    sizes = {name: math.prod(shape) for name, shape in here.items()}
    return sum(size for name, size in sizes.items() if there.get(name) == here[name]) / sum(sizes.values())


def begun_with(trial_id, file):
    """A `DenseNet` for `training.train` that begins with weights of a file, and is called so in a run's record."""

    def build(**arguments):
        model = DenseNet(**arguments)
        load_alike(model, file)
        return model

    build.__name__ = f"DenseNet, begun with weights of trial {trial_id}"
    return build


def _tensors(network):
    """The trainable tensors of a network, `{name: shape}`; those of the stem are one."""
    plan, found = Architecture.plan(**network), {}
    k, width = plan.growth_rate, 4 * plan.growth_rate
    for part in cost(network).stages:
        stage, channels = part.stage, part.stage.in_channels
        if stage.kind == "block":
            for layer in range(stage.layers):
                name, read = f"{stage.name}/{layer}", channels + layer * k
                kernels = {"conv1": (1, 1, read, width), "conv2": (3, 3, width, k)}
                kernels = kernels if plan.bottleneck else {"conv1": (3, 3, read, k)}
                norms = {"norm1": (2, read), "norm2": (2, width)} if plan.bottleneck else {"norm1": (2, read)}
                found |= {f"{name}/{each}": shape for each, shape in (norms | kernels).items()}
        elif stage.kind == "transition":
            found |= {f"{stage.name}/norm": (2, channels), f"{stage.name}/conv": (channels, stage.out_channels)}
        elif stage.kind == "head":
            found[stage.name] = (2, channels)
        elif stage.kind == "classifier":
            found |= {
                f"{stage.name}/kernel": (channels, stage.out_channels),
                f"{stage.name}/bias": (stage.out_channels,),
            }
        elif part.trainable_parameters:
            found[stage.name] = (part.trainable_parameters,)
    return found
