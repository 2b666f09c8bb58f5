"""The README's parts that can be checked: python -m tests.readme writes those anew that a command makes."""

import contextlib
import io
import pathlib
import re
import runpy
import shlex
import sys

ROOT = pathlib.Path(__file__).parents[1]
FILE = ROOT / "README.md"
_MADE = re.compile(r"<!-- made by: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)


def blocks(language):
    """The code blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", FILE.read_text(), re.DOTALL | re.MULTILINE)


def commands():
    """The commands of all bash blocks, each a list of words, without comments."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in filter(str.strip, lines):
        words = shlex.split(line, comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return found


def made():
    """What commands make, a dict from each command to its text in the README."""
    return dict(_MADE.findall(FILE.read_text()))


def output_of(command):
    """What a command prints, in this process."""
    from keras_densenet.cli import app

    program, *words = shlex.split(command)
    before, sys.argv = sys.argv, [program, *words[2:]]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            if program == "keras-densenet":
                app(words, standalone_mode=False)
            else:  # python -m MODULE
                sys.modules.pop(words[1], None)
                runpy.run_module(words[1], run_name="__main__")
        finally:
            sys.argv = before
    return out.getvalue()


if __name__ == "__main__":
    anew = _MADE.sub(lambda m: f"<!-- made by: {m[1]} -->\n{output_of(m[1])}<!-- end -->", FILE.read_text())
    FILE.write_text(anew)
