"""What the commands share: the application, the console, further options, and how a run's progress is told."""

import functools
import importlib.util
import inspect
import os
from typing import Annotated

import typer
import typer.core

import keras_densenet as kd
import keras_densenet_launch
from keras_densenet import training
from keras_densenet.backend import check_backend
from keras_densenet.console import Console
from keras_densenet.programs import keep_programs

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="DenseNets for Keras: train, evaluate, predict, export.\n\nExample: keras-densenet quickstart",
)
console = Console()


def _version(asked: bool):
    if asked:
        print(kd.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version, and end.")
    ] = False,
):
    pass


class WithTensorFlow(typer.core.TyperCommand):
    """A command that needs TensorFlow; the others are answered at once."""

    def invoke(self, context):
        start_tensorflow()
        return super().invoke(context)


def start_tensorflow():
    """Imports TensorFlow without its messages, or ends the program with a sentence; what XLA compiles is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    os.environ.setdefault("KERAS_DENSENET_CACHE", f"{cache}/keras_densenet")
    keep_programs()
    with keras_densenet_launch.quiet("cli"):
        check_backend()


command = functools.partial(app.command, cls=WithTensorFlow)


def gathered(command, name, options, settled=lambda given: given):
    """Gives a command further options.

    Args:
        command: a function.
        name: of the command's argument that gets a dict of those that are given.
        options: a dict of annotations by name; what the command has already is left out.
        settled: what that argument gets is made of the dict by this function.
    """
    signature = inspect.signature(command)
    options = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for option, annotation in options.items()
        if option not in signature.parameters
    ]
    others = [parameter for other, parameter in signature.parameters.items() if other != name]

    @functools.wraps(command)
    def with_options(**given):
        found = {option.name: given.pop(option.name) for option in options}
        found = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
        return command(**given, **{name: settled({key: value for key, value in found.items() if value is not None})})

    with_options.__signature__ = signature.replace(parameters=[*others, *options])
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in (*others, *options)}
    return with_options


def run_training(network, name, splits, recipe, out, strategy=None, tensorboard=False, **options):
    from keras_densenet.data.sources import name_of
    from keras_densenet.training.progress import ProgressBar
    from keras_densenet.training.strategy import is_chief

    strategy = strategy or training.make_strategy()
    xla, devices = training.uses_xla(recipe, strategy), strategy.num_replicas_in_sync
    cost = kd.cost({**network, "classes": len(splits.labels), "input_shape": splits.train.images.shape[1:]})
    console.print(
        f"DenseNet with {cost.trainable_parameters:,} parameters and {cost.macs / 1e6:,.1f} M MACs on "
        f"{len(splits.train.labels):,} {name_of(name)} images; {_counted(devices, 'device')}, "
        + ("compiled with XLA" if xla else "without XLA"),
        highlight=False,
    )
    bar = ProgressBar(console, recipe.batch_size // recipe.accumulate, xla)
    callbacks = [bar]
    if tensorboard and is_chief(strategy):
        callbacks.append(_tensorboard(out / "tensorboard"))
    try:
        state = training.train(network, name, splits, recipe, out, callbacks, strategy, **options)
    except (training.Terminated, KeyboardInterrupt) as end:
        how = "interrupted" if isinstance(end, KeyboardInterrupt) else "terminated"
        console.print(f"{how}; {_saved(out)}", highlight=False, markup=False, soft_wrap=True)
        raise
    accuracy, files = (
        f"test {_judged(state['test'])}",
        f"model, history, curves and arguments are in {out}",
    )
    if bar.began:
        told = f"{accuracy} after {state['training_seconds']:.0f} s of training; {files}"
    else:
        progress = _progress(out)
        is_whole = progress is None or progress.epoch == recipe.epochs
        more = "--epochs gives it more" if is_whole else f"its --patience ended it after epoch {progress.epoch}"
        told = f"the run has ended before, nothing is left to train ({more}): {accuracy}; {files}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)
    return state


def _judged(figures):
    """The figure of a test that says most, for people."""
    from keras_densenet.training.task import told

    name = "auroc" if "auroc" in figures else "accuracy"
    return f"{name} {told(name, figures[name])}"


def _progress(out):
    from keras_densenet.training.folder import RunFolder

    return RunFolder(out, writes=False).read_progress()


def _saved(out):
    progress = _progress(out)
    if not progress:
        return "nothing is saved yet"
    steps = f" and {_counted(progress.step, 'step')} of the next" if progress.step else ""
    return f"{out} keeps {_counted(progress.epoch, 'epoch')}{steps}, and the same command goes on from there"


def _counted(count, word):
    return f"{count} {word}{'s' * (count != 1)}"


def filled(recipe, splits, strategy=None):
    """The recipe with a batch size that nobody gave made one that the training images can fill; says so."""
    devices, count = strategy.num_replicas_in_sync if strategy else 1, len(splits.train.labels)
    parts = devices * recipe.accumulate
    size = min(recipe.batch_size, count) // parts * parts
    if size in (0, recipe.batch_size):
        return recipe
    console.print(
        f"batch size {size} instead of {recipe.batch_size}, for {count:,} training images on "
        f"{_counted(devices, 'device')}",
        highlight=False,
    )
    return recipe.changed(batch_size=size)


def _tensorboard(folder):
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError("TensorBoard logs need a package: pip install 'keras-densenet[tensorboard]'")
    import keras

    return keras.callbacks.TensorBoard(folder, write_graph=False)
