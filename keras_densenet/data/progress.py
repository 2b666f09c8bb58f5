"""A progress bar for what takes a while."""

import sys


def watched(items, what, total=None):
    """The items, with a progress bar where standard error is a terminal and rich is installed."""
    try:
        import rich.console
        import rich.progress
    except ImportError:
        return items
    shown = sys.stderr.isatty() and (total is None or total > 1)
    console = rich.console.Console(stderr=True)
    return rich.progress.track(items, what, total, console=console, transient=True, disable=not shown)
