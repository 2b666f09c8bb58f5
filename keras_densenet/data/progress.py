"""A progress bar for what takes a while."""


def watched(items, what, total=None):
    """The items, with a progress bar where standard error is a terminal and rich is installed."""
    try:
        from keras_densenet.console import Console, track
    except ImportError:
        return items
    return items if total == 1 else track(items, what, total, console=Console(stderr=True))
