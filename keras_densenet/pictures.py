"""Figures of matplotlib, outside pyplot, and names in them."""

import unicodedata

from keras_densenet.files import written_beside
from keras_densenet.names import visible


def new_figure(width, height):
    """An empty matplotlib figure of so many inches."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("Pictures need matplotlib: pip install 'keras-densenet[cli]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure, path, dpi=110):
    """Writes a figure whole or not at all; the suffix of the path tells the format.

    Raises:
        ValueError: for a suffix that is no format of pictures.
    """
    formats = figure.canvas.get_supported_filetypes()
    with written_beside(path) as beside:
        if beside.suffix[1:].lower() not in formats:
            raise ValueError(f"The picture's name must end in .png, .svg or .pdf. Received: {str(path)!r}")
        figure.savefig(beside, dpi=dpi)


def lettering(names):
    """Names as matplotlib writes them.

    Args:
        names: strings.

    Returns:
        The texts, in which `$` is no mathematics, with None for a name whose letters no installed font has; and the
        font families to write them with.
    """
    from matplotlib import font_manager, rcParams

    names = [unicodedata.normalize("NFC", visible(name)) for name in names]
    missing = {ord(letter) for name in names for letter in name}
    missing -= _letters(font_manager.findfont(font_manager.FontProperties()))
    families = [*rcParams["font.family"]]
    for font in sorted(font_manager.fontManager.ttflist, key=lambda font: (font.style != "normal", font.weight != 400)):
        if not missing:
            break
        if font.name.startswith("Last Resort"):  # which has a box for everything
            continue
        if found := missing & _letters(font.fname):
            missing -= found
            families.append(font.name)
    lost = {chr(letter) for letter in missing}
    return [None if lost & set(name) else name.replace("$", r"\$") for name in names], families


def _letters(path):
    """The code points that a font file has; none of one that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()
