"""The README's section on seeing a network."""

import pathlib

import numpy as np

README = pathlib.Path(__file__).parents[2] / "README.md"


def test_its_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    section = README.read_text().split("## Seeing it")[1].split("\n## ")[0]
    names = {}
    exec(section.split("```python\n")[1].split("```")[0], names)
    assert names["maps"].shape == (2, 64, 64)
    assert np.shape(names["pictures"]) == (2, 64, 64, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["densenet121.svg", "reuse.png"]
    assert "block4 7 16 x (1x1, 3x3 conv) 1024" in capsys.readouterr().out
