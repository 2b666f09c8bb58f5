"""What can be checked in README and docs/: python -m tests.readme writes those parts anew that a command makes."""

import contextlib
import io
import pathlib
import re
import runpy
import shlex
import sys

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
_MADE = re.compile(r"<!-- made by: (.+?) -->\n(.*?)<!-- end -->", re.DOTALL)


def text():
    """All pages, one after another."""
    return "\n".join(path.read_text() for path in PAGES.values())


def blocks(page, language):
    """The code blocks of a language on a page, in order, each on the lines that it has there."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return ["\n" * page[: block.start(1)].count("\n") + block[1] for block in found]


def commands():
    """The commands of all bash blocks, each a list of words, without comments."""
    lines = "\n".join(blocks(text(), "bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in filter(str.strip, lines):
        words = shlex.split(line, comments=True)
        while "&&" in words:
            found.append(words[: words.index("&&")])
            words = words[words.index("&&") + 1 :]
        found.append(words)
    return [words for i, words in enumerate(found) if words not in found[:i]]


def made():
    """What commands make: `{(page, command): text}`."""
    return {(name, command): made for name, path in PAGES.items() for command, made in _MADE.findall(path.read_text())}


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
    for path in PAGES.values():
        anew = _MADE.sub(lambda m: f"<!-- made by: {m[1]} -->\n{output_of(m[1])}<!-- end -->", path.read_text())
        path.write_text(anew)
