"""What a network takes from a file: the same tensors, or kernels for other channels, or more or fewer dimensions."""

import re

import numpy as np

from keras_densenet.architecture import image_words
from keras_densenet.weights import layouts


def check_published(checkpoint, plan, skip_mismatch, adapt_channels, inflate):
    """Raises ValueError where published weights cannot serve a network, before they are downloaded."""
    if plan.classes and not skip_mismatch:
        _check_classes(plan.classes, checkpoint.classes if checkpoint.include_top else None, checkpoint.name)
    check_dimensions(2, plan.rank, inflate, checkpoint.name)
    channels = plan.input_shape[-1]
    if not can_serve(checkpoint.channels, channels, adapt_channels):
        what_to_do = adapting(checkpoint.channels, channels)
        raise ValueError(f"{checkpoint.name!r} is for images of other channels; {what_to_do}")


def read(found, plan, variables, path, skip_mismatch, adapt_channels, inflate):
    """Checks and reads what a network needs: `({name: float64 array}, names that are left out)`."""
    theirs, names, values, skipped = layouts.LAYOUTS[found.layout], found.names(plan), {}, []
    if plan.classes and len(found.readers) > 1 and not found.classifier:
        raise ValueError(
            f"{path!r} has {len(found.readers)} layers that may be the classifier, "
            f"{' and '.join(map(repr, found.readers))}: leave them out (--no-top, include_top=False and "
            "reset_classifier)"
        )
    if plan.classes and found.classes is not None and not skip_mismatch:
        _check_classes(plan.classes, found.classes, path)
    dimensions = found.dimensions or plan.rank
    check_dimensions(dimensions, plan.rank, inflate, path)
    for there, here in names.items():
        owner = here if here in variables else re.sub("_moving_(mean|variance)$", "_gamma", here)
        tensor, rank = found.tensors.get(there), len(variables[owner].shape)
        shape = shape_in(dimensions, tuple(variables[owner].shape))
        stored = None if tensor is None else tuple(tensor.shape)
        others = None
        if here == "stem/conv_kernel" and stored is not None:
            others = stem_channels(theirs.shape_here(stored), shape)
        if stored == theirs.shape(shape) or (others and can_serve(others, shape[-2], adapt_channels)):
            array = theirs.here(checked(tensor, there, here, path))
            values[here] = inflated(for_channels(array, shape[-2]) if others else array, rank, inflate)
        elif skip_mismatch and here.startswith("classifier/"):
            skipped.append(here)
        else:
            raise ValueError(
                f"{path!r} holds the weights of another network: this one needs {there} of shape "
                f"{theirs.shape(shape)}. Received: {'no such tensor' if stored is None else stored}"
                + (f"; {adapting(others, shape[-2])}" if others else "")
            )
    left = set(found.backbone.values()) | ({*found.left_over(names)} if plan.classes and not skipped else set())
    if extra := [name for name in found.tensors if name in left - names.keys()]:
        raise ValueError(f"{path!r} holds the weights of another network: this one has no {', '.join(extra[:3])}")
    return values, skipped


def _check_classes(classes, found, source):
    if found is None:
        raise ValueError(
            f"{source!r} has no classifier: leave it out (--no-top, include_top=False), or give classes other than "
            f"1000 for a new one. Received: classes={classes}"
        )
    if classes != found:
        raise ValueError(
            f"classes must be {found} for the weights in {source!r}, or leave their classifier out: --no-top, "
            f"skip_mismatch=True, or include_top=False and reset_classifier. Received: classes={classes}"
        )


def checked(tensor, there, here, path):
    """A tensor's values, float64; ValueError where they cannot be weights."""
    if tensor.dtype.kind != "f" and tensor.dtype.name != "bfloat16":
        raise ValueError(
            f"{there} in {path!r} must hold floating-point numbers, not quantised ones. Received: {tensor.dtype}"
        )
    array = np.asarray(tensor[()], "float64")
    if not np.isfinite(array).all():
        raise ValueError(f"{there} in {path!r} holds values that are not finite: the file is damaged")
    if here.endswith("_variance") and (array < 0).any():
        raise ValueError(f"{there} in {path!r} holds a negative variance: the file is damaged")
    return array


def stem_channels(stored, shape):
    """The channels of a stem's kernel that is like ours but for these; None if it is not. Both in our order of axes."""
    alike = len(stored) == len(shape) and stored[-2] != shape[-2]
    return stored[-2] if alike and (*stored[:-2], stored[-1]) == (*shape[:-2], shape[-1]) else None


def can_serve(given, channels, adapt_channels):
    """Whether a kernel for `given` channels may become one for `channels`."""
    return adapt_channels or given == channels or (given, channels) == (3, 1)


def adapting(given, channels):
    """What to do where it may not."""
    return f"adapt_channels=True of load_weights makes its {given} channels {channels}"


def for_channels(kernel, channels):
    """A stem's kernel for another number of channels. Source: timm, `adapt_input_conv`, there from three."""
    if channels == 1:
        return kernel.sum(-2, keepdims=True)
    given = kernel.shape[-2]
    return np.take(kernel, np.arange(channels) % given, -2) * (given / channels)


def check_dimensions(given, dimensions, inflate, source):
    """Raises ValueError where kernels are for another number of dimensions, and nobody said what becomes of them."""
    if inflate is not None and inflate not in _ALONG:
        raise ValueError(f'inflate must be None, "repeat" or "centre". Received: inflate={inflate!r}')
    if given != dimensions and inflate is None:
        raise ValueError(
            f"{source!r} is for {image_words(given)[0]}s, and this network for {image_words(dimensions)[0]}s: "
            'inflate="centre" or "repeat" of load_weights makes kernels for these'
        )


def shape_in(dimensions, shape):
    """What shape a kernel of this shape has in another number of dimensions; other weights have the same in all."""
    return (*[shape[0]] * dimensions, *shape[-2:]) if len(shape) > 2 else shape


def inflated(kernel, rank, inflate):
    """A kernel with another number of axes, of the same sum: those of its first that are too many are summed.

    Source: "repeat" is of Carreira and Zisserman, "Quo Vadis, Action Recognition?", section 2.4; "centre" of Arnab et
    al., "ViViT", section 3.4.
    """
    while kernel.ndim < rank:
        kernel = np.multiply.outer(_ALONG[inflate](len(kernel)), kernel)
    return kernel.sum(tuple(range(kernel.ndim - rank)))


_ALONG = {"repeat": lambda size: np.full(size, 1 / size), "centre": lambda size: np.eye(size)[size // 2]}
