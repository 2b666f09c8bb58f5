"""What a person sees while a network trains."""

import time

import keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keras_densenet.training.task import told


class ProgressBar(keras.callbacks.Callback):
    """A bar for the running epoch with its figures and images per second, and a line for each finished one.

    Args:
        console: a `rich.console.Console`.
        batch_size: images in a step.
        xla: whether the first step is compiled with XLA.

    Attributes:
        began: whether there was anything to do.
    """

    def __init__(self, console, batch_size, xla=True):
        super().__init__()
        self.console, self.batch_size = console, batch_size
        self.compiling = "compiling with XLA ..." if xla else "tracing ..."
        self.bar = self.task = None
        self.began = False

    def on_train_begin(self, logs=None):
        self.began = True
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[news]}"), console=self.console, transient=True)

    def on_epoch_begin(self, epoch, logs=None):
        first = self.task is None
        if first:
            self.bar.start()
            self.task = self.bar.add_task("", total=self.params["steps"], news=self.compiling)
        self.bar.reset(self.task, description=f"epoch {epoch + 1}/{self.params['epochs']}")
        self.epoch, self.fresh = epoch, first
        self.started, self.images = (None if first else time.perf_counter()), 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.fresh and (self.epoch or batch):
            place = f"step {batch + 1} of epoch {self.epoch + 1}" if batch else f"epoch {self.epoch + 1}"
            self.console.print(f"the run goes on with {place} of {self.params['epochs']}", highlight=False)
        self.fresh = False

    def on_train_batch_end(self, batch, logs=None):
        if self.started is None:  # the first batch was compilation
            self.started = time.perf_counter()
        else:
            self.images += self.batch_size
        self.bar.update(self.task, completed=batch + 1, news=f"{figures_told(logs)}  {self.rate():,.0f} images/s")

    def rate(self):
        """Images per second of training in this epoch."""
        seconds = time.perf_counter() - (self.started or 0)
        return self.images / max(seconds, 1e-9)

    def on_test_begin(self, logs=None):
        if self.task is not None:
            self.epoch_rate = self.rate()
            self.bar.update(self.task, news="validating ...")

    def on_epoch_end(self, epoch, logs=None):
        line = f"epoch {epoch + 1:3d}/{self.params['epochs']}  {figures_told(logs)}  {self.epoch_rate:,.0f} images/s"
        self.console.print(line, highlight=False)

    def on_train_end(self, logs=None):
        self.bar.stop()


def figures_told(logs):
    """Figures of training and validation in a line."""
    parts = {"": [], "  val ": []}
    for name in sorted(logs, key=lambda name: "loss" not in name):  # Keras sorts them by the alphabet
        short = name.removeprefix("val_")
        parts["" if short == name else "  val "].append(f"{short.replace('_', ' ')} {told(name, logs[name])}")
    return "".join(f"{which}{' '.join(figures)}" for which, figures in parts.items() if figures)
