"""How a file's kernels serve a network for inputs of other channels, or of more or fewer dimensions."""

import numpy as np

from keras_densenet.architecture import image_words


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
