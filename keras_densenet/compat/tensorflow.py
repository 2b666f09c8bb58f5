"""What TensorFlow has no public name for. Seen in TensorFlow 2.21."""

import pathlib
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.python.client import device_lib
from tensorflow.python.eager import context, record
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_util
from tensorflow.python.saved_model import save_context

from keras_densenet.types import Tensor


def is_compiling() -> bool:
    """Whether what is being traced will be compiled by XLA, here or in a function around this one."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(ops.get_default_graph())


def device_type() -> str:
    """The kind of device, such as "GPU", that what is being traced is for, as far as TensorFlow knows here.

    That of the innermost `tf.device` or replica; without one, where TensorFlow places what nobody placed.
    """
    asked = tf.DeviceSpec.from_string(context.context().device_name or "").device_type
    return asked or ("GPU" if tf.config.list_logical_devices("GPU") else "CPU")


def is_exporting() -> bool:
    """Whether what is being traced goes into a SavedModel."""
    return save_context.in_save_context()


def stop_recording() -> AbstractContextManager[None]:
    """Within it, no tape of this thread records what is computed."""
    return record.stop_recording()


def number_from_afresh() -> None:
    """From here on functions are numbered, in their names, as in any process that does the same from here on.

    TensorFlow counts whatever was made before; XLA's kept programs are found by name.
    """
    while ops.uid() % 2**18:  # 20 ms
        pass


def optimization_barrier(tensors: Iterable[Tensor]) -> list[Tensor]:
    """XLA's OptimizationBarrier: what follows is not merged with what came before."""
    return gen_xla_ops.xla_optimization_barrier(list(tensors))


def dynamic_update_slice(buffer: Tensor, part: Tensor, start: Tensor) -> Tensor:
    """XLA's DynamicUpdateSlice: `buffer` with `part` from the indices `start` on, in place where that is possible."""
    return gen_xla_ops.xla_dynamic_update_slice(buffer, part, start)


def convolution(x: Tensor, kernel: Tensor, padding: Sequence[Sequence[int]], dimensions: dict[str, object]) -> Tensor:
    """XLA's ConvGeneralDilated of stride 1, whose dimensions may be in any order.

    Args:
        x: the image.
        kernel: what slides over it.
        padding: `(before, after)` of each spatial dimension.
        dimensions: fields of XLA's `ConvolutionDimensionNumbers`.
    """
    ones = tf.constant([1] * len(padding))
    return gen_xla_ops.xla_conv_v2(
        x,
        kernel,
        window_strides=ones,
        padding=padding,
        lhs_dilation=ones,
        rhs_dilation=ones,
        feature_group_count=1,
        dimension_numbers=xla_data_pb2.ConvolutionDimensionNumbers(**dimensions).SerializeToString(),
        precision_config="",
        preferred_element_type=kernel.dtype,
    )


def memory_limits(kind: str) -> list[int]:
    """The bytes that TensorFlow may use of each device of a kind, "GPU" or "CPU"; what is visible is initialised."""
    return [device.memory_limit for device in device_lib.list_local_devices() if device.device_type == kind]


def custom_gradients() -> set[str]:
    """The names of all gradients of `custom_gradient` that were ever traced: a global registry keeps them."""
    return {name for name in ops.gradient_registry.list() if name.startswith("CustomGradient-")}


def forget_gradients(names: Iterable[str]) -> None:
    """Takes gradients out of that registry, which has no such method, and with them their graphs and weights."""
    for name in names:
        del ops.gradient_registry._registry[name]


def c_library() -> pathlib.Path | None:
    """The file with TensorFlow's C functions in the wheel, and the C++ code behind them; None where there is none."""
    return next(iter(sorted(pathlib.Path(tf.__file__).parent.glob("libtensorflow_cc.*"))), None)
