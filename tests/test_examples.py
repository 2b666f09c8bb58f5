"""The examples run as their docstrings say, here in a small setting."""

import pathlib
import runpy

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def test_fine_tune(capsys):
    main = runpy.run_path(EXAMPLES / "fine_tune.py")["main"]
    small = "--no-xla --depth 10 --per-class 2 --source-epochs 1 --epochs 1 --steps 2"
    accuracies = main(small.split())
    assert accuracies.keys() == {"fine-tuned", "from scratch"}
    assert all(0 <= accuracy <= 1 for accuracy in accuracies.values())
    assert "10 images of new classes" in capsys.readouterr().out
