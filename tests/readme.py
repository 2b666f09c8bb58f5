"""The README's parts that can be checked: python -m tests.readme writes those anew that a command makes."""

import pathlib
import re
import shlex
import subprocess
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
    """What a command prints."""
    starts = {"keras-densenet": ["-c", "import keras_densenet_launch as launch; launch.main()"], "python": []}
    program, *words = shlex.split(command)
    arguments = [sys.executable, *starts[program], *words]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout


if __name__ == "__main__":
    anew = _MADE.sub(lambda m: f"<!-- made by: {m[1]} -->\n{output_of(m[1])}<!-- end -->", FILE.read_text())
    FILE.write_text(anew)
