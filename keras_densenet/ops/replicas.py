"""Batch statistics over all replicas of a `tf.distribute` strategy."""

import weakref
from typing import Any

import tensorflow as tf

_synchronised: weakref.WeakSet[Any] = weakref.WeakSet()


def synchronise_statistics(strategy: tf.distribute.Strategy) -> None:
    """From now on, what trains under this strategy normalises with the statistics of the global batch.

    Examples:
        >>> kd.ops.synchronise_statistics(tf.distribute.OneDeviceStrategy("CPU:0"))
    """
    _synchronised.add(strategy)


def is_synchronised() -> bool:
    """Whether replicas share their statistics here."""
    return tf.distribute.get_strategy() in _synchronised


def mean_over_replicas(tensors: Any) -> Any:
    """Means over the replicas, which have equal batches; the tensors themselves where nothing is synchronised.

    Args:
        tensors: a tensor, or a list of them that travel together.
    """
    if not is_synchronised():
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tensors)
