"""What a person sees of a search."""

import time

import keras
from keras_tuner.engine.trial import TrialStatus
from rich.progress import BarColumn, Progress, TextColumn

from keras_densenet.compat.keras_tuner import Display, show_on
from keras_densenet.training.progress import figures_told


class Watch(Display):
    """A line for each trial that begins or ends: point, cost, result, best so far, time left.

    Args:
        oracle: one of `ALGORITHMS`; this becomes its display.
        console: a `rich.console.Console`.
        ended: called after each trial that ended.
    """

    def __init__(self, oracle, console, ended=lambda: None):
        super().__init__(oracle)
        self.console, self.ended = console, ended
        self._began, self._seconds = {}, []
        show_on(oracle, self)

    def on_trial_begin(self, trial):
        if trial.trial_id in self._began:
            return
        self._began[trial.trial_id] = time.monotonic()
        self.trial_number.setdefault(trial.trial_id, len(self.oracle.trials))
        network = self.oracle.hypermodel.network(trial.hyperparameters.values)
        recipe = self.oracle.hypermodel.recipe_at(trial.hyperparameters.values)
        figures = self.oracle.budget.figures(network)
        kind = f"k {network['growth_rate']}{'' if network['bottleneck'] else ', plain'}, theta {network['theta']:g}"
        stem = "2k" if network["stem_channels"] is None else network["stem_channels"]
        until = trial.hyperparameters.values.get("tuner/epochs")
        blocks, number = "-".join(map(str, network["blocks"])), self.trial_number[trial.trial_id]
        self._tell(
            f"trial {trial.trial_id} ({number}{self._of()}): blocks {blocks}, {kind}, stem {stem}, "
            f"dropout {network['dropout_rate']:g}, learning rate {recipe.learning_rate:g}, "
            f"weight decay {recipe.weight_decay:g}{f', to epoch {until}' if until else ''}: "
            f"{figures['parameters']:,} parameters, {figures['macs'] / 1e6:,.1f} M MACs"
        )

    def on_trial_end(self, trial):
        seconds = time.monotonic() - self._began.pop(trial.trial_id, time.monotonic())
        self._seconds.append(seconds)
        if trial.status == TrialStatus.COMPLETED:
            result = f"{self.oracle.objective.name} {trial.score:.4f}"
        else:
            lines = (trial.message or "its objective is not a number").strip().splitlines()
            result = f"failed: {lines[-1]}"
        best = [t for t in self.oracle.get_best_trials() if t.status == TrialStatus.COMPLETED]
        told = f"; best {best[0].score:.4f}, of trial {best[0].trial_id}" if best else ""
        self._tell(f"  trial {trial.trial_id}: {result} after {seconds:.0f} s{told}{self._left()}")
        self.ended()

    def _of(self):
        return f" of {self.oracle.max_trials}" if self.oracle.max_trials else ""

    def _left(self):
        """The time that is left, by the trials that ended since this process began and those that run at once."""
        if not self.oracle.max_trials:
            return ""
        ended = [t for t in self.oracle.trials.values() if t.status in (TrialStatus.COMPLETED, TrialStatus.FAILED)]
        at_once = max(1, len(self.oracle.ongoing_trials))
        seconds = (self.oracle.max_trials - len(ended)) * sum(self._seconds) / len(self._seconds) / at_once
        return f"; {seconds / 60:.0f} min left" if seconds >= 90 else f"; {seconds:.0f} s left"

    def _tell(self, line):
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


class EpochBar(keras.callbacks.Callback):
    """A bar for the epochs of the trial that runs, which goes away at its end.

    Args:
        console: a `rich.console.Console`.
    """

    def __init__(self, console):
        super().__init__()
        self.console = console

    def on_train_begin(self, logs=None):
        epochs, news = TextColumn("  epoch {task.completed:.0f}/{task.total:.0f}"), TextColumn("{task.fields[news]}")
        self.bar = Progress(
            epochs, BarColumn(), news, console=self.console, transient=True, disable=not self.console.is_terminal
        )
        self.task = self.bar.add_task("", total=self.params["epochs"], news="tracing ...")
        self.bar.start()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.update(self.task, completed=epoch + 1, news=figures_told(logs))

    def on_train_end(self, logs=None):
        self.bar.stop()
