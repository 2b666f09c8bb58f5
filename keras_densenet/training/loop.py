"""Steps of training and evaluation, the same on one device and on many.

`Model.fit` of Keras 3.15 fails under `MultiWorkerMirroredStrategy`; a loop of our own also knows its place in an epoch
to the batch, which an exact continuation needs.
"""

import contextlib
import functools
import math
import time

import numpy as np
import tensorflow as tf

from keras_densenet.compat.tensorflow import number_from_afresh
from keras_densenet.training.metrics import summary
from keras_densenet.training.strategy import sum_over_replicas

STEPS, SECONDS = 10, 0.5  # after which what is on the device is fetched


def figures(sums):
    """Loss and accuracy of a label that is known, a dict, from sums that `Loop.train` returned."""
    loss, right, labels, _ = map(float, sums)
    return {"loss": loss / labels, "accuracy": right / labels} if labels else {"loss": 0.0, "accuracy": 0.0}


class Window:
    """The sums of the last steps, which stay on the device until they are fetched together.

    So the device need not wait for this process after every step. The first step is a window by itself.

    Args:
        alone: whether no other process has to fetch at the same steps, and so the clock counts, too.
    """

    def __init__(self, alone):
        self.sums, self.alone, self.fetched = [], alone, -math.inf

    def is_full(self):
        """Whether to fetch now."""
        late = time.monotonic() - self.fetched > SECONDS
        return len(self.sums) == STEPS or (late and (self.alone or self.fetched < 0))

    def fetch(self):
        """The sums since the last time, float64 `(steps, 4)`."""
        sums, self.sums, self.fetched = tf.stack(self.sums).numpy().astype("float64"), [], time.monotonic()
        return sums


class Loop:
    """The steps of one model under one strategy.

    Args:
        model: a compiled model with probabilities as output, made in the strategy's scope.
        strategy: a `tf.distribute.Strategy`.
        xla: whether to compile the steps with XLA.
        task: the `Task`.
    """

    def __init__(self, model, strategy, xla, task):
        self.model, self.strategy, self.task = model, strategy, task
        compiled = functools.partial(tf.function, autograph=False, jit_compile=xla)
        self._train = compiled(self._train_on_replicas)
        self._evaluate = compiled(self._evaluate_on_replicas)
        self._average = tf.function(self._average_on_replicas, autograph=False)

    def train(self, images, labels, stop=False):
        """Takes one step.

        Args:
            images, labels: what `distributed` gives.
            stop: whether this process has been told to stop.

        Returns:
            Sums over the global batch, a tensor: losses, right answers and number of the labels that are known, and how
            many replicas have been told to stop.
        """
        return self._train(images, labels, tf.constant(float(stop)))

    def evaluate(self, batches):
        """The task's figures, a dict; `batches` of `(images, labels, weights)` are what `distributed` gives."""
        total, seen, further = np.zeros(4), [], self.task.metrics[1:]
        for batch in batches:
            sums, *predicted = self._evaluate(*batch)
            total += sums.numpy()
            if further:
                labels, outputs, weights = (self.strategy.gather(part, 0).numpy() for part in predicted)
                seen.append((labels[weights > 0], outputs[weights > 0]))
        found = figures(total)
        if further:
            means = summary(*map(np.concatenate, zip(*seen, strict=True)))
            found |= {name: means[name] for name in further}
        return found

    def _train_on_replicas(self, images, labels, stop):
        number_from_afresh()
        model, optimizer = self.model, self.model.optimizer

        def step(images, labels):
            with tf.GradientTape() as tape:
                outputs = model(images, training=True)
                losses, right, counts = self.task.loss.totals(labels, outputs)
                known = sum_over_replicas(tf.reduce_sum(counts))
                loss = optimizer.scale_loss(tf.reduce_sum(losses) / tf.maximum(known, 1))
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return _sums(losses, right, counts, stop)

        return self._first(self.strategy.run(step, (images, labels)))

    def _evaluate_on_replicas(self, images, labels, weights):
        number_from_afresh()
        loss = self.task.validation_loss

        def step(images, labels, weights):
            outputs = tf.convert_to_tensor(self.model(images, training=False))
            sums = _sums(*(part * weights for part in loss.totals(labels, outputs)))
            return sums, tf.cast(labels, tf.int32), outputs, weights  # int8 cannot be gathered

        sums, *predicted = self.strategy.run(step, (images, labels, weights))
        return self._first(sums), *predicted

    def _first(self, sums):
        return self.strategy.experimental_local_results(sums)[0]

    def average_statistics(self):
        """Gives every replica the mean of all replicas' moving statistics."""
        if self.strategy.num_replicas_in_sync > 1:
            self._average()

    def _average_on_replicas(self):
        variables = [v for v in self.model.non_trainable_variables if v.dtype.startswith("float")]

        def average():
            sums = sum_over_replicas([tf.identity(variable) for variable in variables])
            for variable, value in zip(variables, sums, strict=True):
                variable.assign(value / self.strategy.num_replicas_in_sync)

        self.strategy.run(average)

    def start_dropout(self, seed, epoch, step):
        """Lets dropout go on as in the step `step` of an epoch: every epoch has masks of its own."""
        for index, layer in enumerate(self.model.layers):
            if generator := getattr(layer, "seed_generator", None):
                (key,) = np.random.SeedSequence([seed, epoch, index]).generate_state(1) >> 1
                generator.state.assign([int(key), step])

    @contextlib.contextmanager
    def averaged_weights(self):
        """Puts the moving average of the weights into the model for a while, where its optimizer keeps one."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        variables = self.model.trainable_variables if optimizer.use_ema else []
        kept = [variable.numpy() for variable in variables]
        try:
            optimizer.finalize_variable_values(variables)
            yield
        finally:
            for variable, value in zip(variables, kept, strict=True):
                variable.assign(value)


def _sums(losses, right, counts, stop=0.0):
    sums = [tf.reduce_sum(tf.cast(values, tf.float32)) for values in (losses, right, counts)]
    return sum_over_replicas(tf.stack([*sums, tf.convert_to_tensor(stop)]))
