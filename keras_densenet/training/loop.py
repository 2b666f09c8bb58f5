"""Steps of training and evaluation, the same on one device and on many.

`Model.fit` of Keras 3.15 fails under `MultiWorkerMirroredStrategy`; a loop of our own also knows its place in an epoch
to the batch, which an exact continuation needs.
"""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_densenet.training.strategy import sum_over_replicas


def figures(sums):
    """Loss and accuracy of an image, a dict, from what `Loop.train` returns."""
    loss, hits, images, _ = map(float, sums)
    return {"loss": loss / images, "accuracy": hits / images}


class Loop:
    """The steps of one model under one strategy.

    Args:
        model: a compiled model with probabilities as output, made in the strategy's scope.
        strategy: a `tf.distribute.Strategy`.
        xla: whether to compile the steps with XLA.
        label_smoothing: share of a training label that is given to all classes alike.
    """

    def __init__(self, model, strategy, xla, label_smoothing=0.0):
        self.model, self.strategy, self.label_smoothing = model, strategy, label_smoothing
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
            Sums over the global batch, an array: loss, hits, images, and how many replicas have been told to stop.
        """
        return self._train(images, labels, tf.constant(float(stop))).numpy()

    def evaluate(self, batches):
        """Loss and accuracy, a dict; `batches` of `(images, labels, weights)` are what `distributed` gives."""
        return figures(sum(self._evaluate(*batch).numpy().astype("float64") for batch in batches))

    def _train_on_replicas(self, images, labels, stop):
        model, optimizer = self.model, self.model.optimizer

        def step(images, labels):
            with tf.GradientTape() as tape:
                outputs = model(images, training=True)
                losses = _cross_entropy(labels, outputs, self.label_smoothing)
                loss = optimizer.scale_loss(tf.reduce_mean(losses) / self.strategy.num_replicas_in_sync)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            return _sums(losses, labels, outputs, tf.ones_like(losses), stop)

        return self._run(step, images, labels)

    def _evaluate_on_replicas(self, images, labels, weights):
        def step(images, labels, weights):
            outputs = self.model(images, training=False)
            return _sums(_cross_entropy(labels, outputs), labels, outputs, weights)

        return self._run(step, images, labels, weights)

    def _run(self, step, *batch):
        return self.strategy.experimental_local_results(self.strategy.run(step, batch))[0]

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


def _cross_entropy(labels, outputs, smoothing=0.0):
    outputs = tf.convert_to_tensor(outputs)
    labels = labels if labels.shape.rank == 2 else tf.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return keras.losses.categorical_crossentropy(labels, outputs, label_smoothing=smoothing)


def _sums(losses, labels, outputs, weights, stop=0.0):
    truth = tf.argmax(labels, -1) if labels.shape.rank == 2 else tf.cast(labels, tf.int64)
    hits = tf.cast(tf.argmax(outputs, -1) == truth, weights.dtype)
    sums = [tf.reduce_sum(values * weights) for values in (losses, hits, tf.ones_like(weights))]
    return sum_over_replicas(tf.stack([*sums, tf.convert_to_tensor(stop)]))
