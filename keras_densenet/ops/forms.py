"""What the function that is being traced is compiled for, and the forms of the mathematics that are fast there.

The same results come from all forms wherever they run; only how fast differs.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import tensorflow as tf

from keras_densenet.compat.tensorflow import device_type, is_compiling, is_exporting, stop_recording
from keras_densenet.ops.kernels import Kernels
from keras_densenet.ops.plain import Plain
from keras_densenet.ops.replicas import is_synchronised
from keras_densenet.ops.xla import XlaOnCpu, XlaOnGpu


class Target(NamedTuple):
    """Who compiles a function, XLA or nobody (TensorFlow's kernels run one by one), and for which device.

    Examples:
        >>> kd.ops.Target(xla=True, device="GPU")
        Target(xla=True, device='GPU')
    """

    xla: bool
    device: Literal["CPU", "GPU"]


_FORMS: dict[Target, type[Plain]] = {
    Target(xla=True, device="CPU"): XlaOnCpu,
    Target(xla=True, device="GPU"): XlaOnGpu,
    Target(xla=False, device="CPU"): Kernels,
    Target(xla=False, device="GPU"): Plain,
}
_asked: contextvars.ContextVar[Target | None] = contextvars.ContextVar("target", default=None)


def target() -> Target:
    """What is being traced here is compiled for: what `compiled_for` says, else what TensorFlow knows.

    The device is that of the innermost `tf.device` or replica, else a GPU where TensorFlow may use one. A `tf.function`
    keeps the forms that it was traced with, also where it is later called on another device.
    """
    return _asked.get() or Target(is_compiling(), "GPU" if device_type() == "GPU" else "CPU")


@contextlib.contextmanager
def compiled_for(wanted: Target) -> Iterator[None]:
    """Traces with the forms for another target, as for a program that is lowered for a machine that is not here.

    Examples:
        >>> def pool(x):
        ...     return kd.ops.stem_pool_in_training(x)
        >>> with kd.ops.compiled_for(kd.ops.Target(xla=True, device="GPU")):
        ...     lower = tf.function(pool, jit_compile=True).experimental_get_compiler_ir(tf.ones((1, 8, 8, 2)))
        >>> "stablehlo.maximum" in lower(stage="stablehlo", platform_name="GPU")
        True
    """
    token = _asked.set(wanted)
    try:
        yield
    finally:
        _asked.reset(token)


def forms() -> type[Plain]:
    """The forms for `target()`."""
    return _FORMS[target()]


def passes(*functions: Callable[..., Any]) -> list[Callable[..., Any]]:
    """The passes of a custom gradient, forward and backward, traced with the same forms wherever that happens.

    On a GPU where nothing compiles what is around them XLA compiles each by itself: kernels one by one are slow there.
    Not so in what is exported, for a server may not run XLA's programs, nor where replicas talk to each other within.

    Args:
        functions: at module level, of (structures of) tensors and constants alone.
    """
    here = target()
    if here == Target(xla=False, device="GPU") and not (
        is_exporting() or is_synchronised() or tf.config.functions_run_eagerly()
    ):
        traced: Callable[..., Any] = _kept if tf.executing_eagerly() else _compiled  # in a graph, for as long as that
    else:
        traced = functools.partial(_traced_for, here)
    return [_apart(traced(function)) for function in functions]


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, traced for the first of calls that differ in nothing but the numbers: operations take long to make.

    For XLA, which puts them where the calls are. TensorFlow does so, too, but would then keep more at a time; and where
    replicas talk to each other within they cannot.

    Args:
        function: of (structures of) tensors and constants alone.
    """
    once = target().xla and not (tf.executing_eagerly() or is_synchronised())
    return tf.function(function, autograph=False) if once else function


def _apart(function):
    """`function` where no tape sees it: else each prepares to differentiate what is inside."""

    @functools.wraps(function)
    def run(*arguments, **options):
        with stop_recording():
            return function(*arguments, **options)

    return run


def _traced_for(wanted, function):
    @functools.wraps(function)
    def run(*arguments, **options):
        with compiled_for(wanted):
            return function(*arguments, **options)

    return run


def _compiled(function):
    return tf.function(_traced_for(Target(xla=True, device="GPU"), function), jit_compile=True, autograph=False)


_kept = functools.lru_cache(_compiled)
