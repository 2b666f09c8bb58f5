"""What only XLA has, each behind a function that also works without it."""

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.python.framework import ops as graphs
from tensorflow.python.ops import control_flow_util


def is_compiling():
    """Whether what is being traced will be compiled by XLA, here or in a function around this one."""
    return not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(graphs.get_default_graph())


def barrier(tensors):
    """Passes tensors through unchanged, and keeps XLA from merging what follows with what came before."""
    return gen_xla_ops.xla_optimization_barrier(list(tensors)) if is_compiling() else list(tensors)


def after(tensor, value):
    """Passes `value` `(channels,)` through unchanged, and has XLA compute what follows from it after `tensor`.

    Barriers are gone by the time XLA merges equal expressions for the last time and puts all in order: what the
    backward pass computes again would be computed early, or not again, and kept. A dependence on data stays.
    """
    if not is_compiling():
        return value
    return value + tf.cast(tf.minimum(tf.abs(tf.reshape(tensor, [-1])[0]), 0), value.dtype)


def piece(buffer, index, channels):
    """`buffer[index, ..., :channels]`, for an index that is not negative.

    Args:
        buffer: `(slices, ...)`.
        index: scalar int tensor.
        channels: how many.
    """
    return tf.squeeze(_slice(buffer, index, channels), 0)


def add_in_place(buffer, index, part):
    """`buffer[index, ..., :channels] += part`, in place where `buffer` is not used any more.

    Args:
        buffer: `(slices, ...)`, under XLA.
        index: scalar int tensor.
        part: the shape of `buffer[index]`, with fewer channels.
    """
    new = _slice(buffer, index, part.shape[-1]) + part[None]  # a reshape between the two would cost a copy
    return gen_xla_ops.xla_dynamic_update_slice(buffer, new, _start(buffer, index))


def _slice(buffer, index, channels):
    size = tf.concat([[1], tf.shape(buffer)[1:-1], [channels]], 0)
    return tf.slice(buffer, _start(buffer, index), size)


def _start(buffer, index):
    return tf.stack([index] + [0] * (len(buffer.shape) - 1))
