"""Names of the types that many public signatures share."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

Path = str | os.PathLike[str]
Shape = tuple[int | None, ...]
"""Of a tensor, with the batch in front; None is unknown."""
InputShape = tuple[int | None, ...]
"""Of a signal `(length, channels)`, of an image `(height, width, channels)`, of a volume with its depth before."""
Size = int | Sequence[int]
"""Of an image in pixels: its side, or `(height, width)`."""
Mode = str | Mapping[str, Any]
"""Of `layers.Preprocess`: "torch", "caffe", "unit" or `{"mean": ..., "std": ...}`."""
DType = Any
"""A dtype, a `keras.DTypePolicy` or the name of one; None is `keras.config.dtype_policy()`."""
Activation = str | Callable[..., Any] | None
"""As Keras takes it; None is linear."""
Tensor = Any
"""TensorFlow's, or a symbolic one of Keras; both packages are untyped."""

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:

    def __getattr__(name):  # half of the command line's start would be NumPy's
        if name != "Array":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import numpy as np

        return np.ndarray[Any, Any]
