"""One device, many, or many machines: what `tf.distribute` needs of us."""

import contextlib
import json
import os

import tensorflow as tf

from keras_densenet import ops
from keras_densenet.training.recipe import Recipe

_MANY = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
STRATEGIES = ("none", "mirrored", "multi_worker")


def make_strategy(name: str = "none", sync_statistics: bool = False) -> tf.distribute.Strategy:
    """Makes the `tf.distribute.Strategy` to train under. For many workers, call it before anything of TensorFlow runs.

    Args:
        name: "none"; "mirrored" for the GPUs (without any, the logical CPUs) of this machine; "multi_worker" for the
            cluster that the environment variable TF_CONFIG describes, one process on each of its machines.
        sync_statistics: whether batch normalisation uses the statistics of the global batch, not of each device's part.

    Returns:
        A strategy; "none" is TensorFlow's default one.

    Raises:
        ValueError: for an unknown name, or if TF_CONFIG does not describe a cluster.

    Examples:
        >>> with kd.training.make_strategy("none").scope():
        ...     model = kd.DenseNet(blocks=(1,), growth_rate=4, input_shape=(32, 32, 3))
    """
    if name not in STRATEGIES:
        raise ValueError(f"strategy must be one of {', '.join(STRATEGIES)}. Received: strategy={name!r}")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    else:
        _check_tf_config()
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if sync_statistics:
        ops.synchronise_statistics(strategy)
    return strategy


def _check_tf_config():
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        addresses, index = config["cluster"][config["task"]["type"]], config["task"]["index"]
        addresses[index]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(
            f"strategy=multi_worker needs the environment variable TF_CONFIG, such as {example}. "
            f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')!r}"
        ) from None


def is_alone(strategy):
    """Whether no other process trains with this one."""
    return not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy):
    """Whether this process is the one that writes files."""
    return is_alone(strategy) or strategy.extended.should_checkpoint


def uses_xla(recipe: Recipe, strategy: tf.distribute.Strategy) -> bool:
    """Whether steps are compiled with XLA: wherever it can, unless the recipe says otherwise.

    Raises:
        ValueError: if the recipe asks for the impossible, or a batch cannot be shared out.

    Examples:
        >>> kd.training.uses_xla(kd.training.Recipe(xla=False), kd.training.make_strategy("none"))
        False
    """
    many, replicas = isinstance(strategy, _MANY), strategy.num_replicas_in_sync
    if recipe.batch_size % (replicas * recipe.accumulate):
        raise ValueError(
            f"batch_size must be a multiple of devices * accumulate. Received: batch_size={recipe.batch_size}, "
            f"accumulate={recipe.accumulate}, with {replicas} devices"
        )
    possible = not many or bool(tf.config.list_logical_devices("GPU"))
    if recipe.xla and not possible:
        raise ValueError("xla must be off or left out: XLA cannot compile what CPUs tell each other. Received: True")
    return possible if recipe.xla is None else recipe.xla


def distributed(strategy, make_batches, parts=1, skip=0, endless=False):
    """Deals the slices of global batches out to the replicas.

    Args:
        strategy: the strategy.
        make_batches: a function from `(index, count)` of the workers to that worker's slices of the global batches, a
            `tf.data.Dataset` of tuples of tensors.
        parts: pieces into which each replica's slice is cut, so that a batch comes in so many steps.
        skip: steps to leave out.
        endless: whether the batches are, so that the workers need not tell each other in every step that there is one.

    Returns:
        An iterable for `strategy.run`.
    """

    def dataset(context):
        workers = context.num_input_pipelines
        replicas = strategy.num_replicas_in_sync // workers
        pieces = parts * replicas

        def cut(*batch):
            return tuple(tf.reshape(t, (pieces, t.shape[0] // pieces, *t.shape[1:])) for t in batch)

        batches = make_batches((context.input_pipeline_id, workers))
        if pieces > 1:
            batches = batches.map(cut).unbatch().prefetch(pieces)
        if endless:
            batches = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return batches.skip(skip * replicas)

    return strategy.distribute_datasets_from_function(dataset)


def sum_over_replicas(tensor):
    """Sums what every replica has; call it inside `strategy.run`."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensor)


def check_same_place(strategy, step):
    """Makes sure that all workers begin at the same step (None: no checkpoint); raises ValueError if they do not."""
    if is_alone(strategy):
        return
    place = tf.constant(-1 if step is None else step, tf.int64)
    total = tf.function(lambda: strategy.run(sum_over_replicas, [place]), autograph=False)()
    total = strategy.experimental_local_results(total)[0]
    if total != place * strategy.num_replicas_in_sync:
        raise ValueError(
            f"The workers do not begin at the same step: give an --out that they share. Received: one begins at {step}"
        )


@contextlib.contextmanager
def lost_worker_told(strategy):
    """Says in a sentence what TensorFlow's errors mean when another worker of a cluster is gone."""
    try:
        yield
    except tf.errors.OpError as error:
        if is_alone(strategy):
            raise
        raise ConnectionError(
            "Another worker was lost. Start all of them again with the same command: the run goes on from its last "
            f"checkpoint. ({(error.message or type(error).__name__).splitlines()[0]})"
        ) from error
