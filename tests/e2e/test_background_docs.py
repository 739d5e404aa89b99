"""The Python shown in docs/background.md and docs/dynamic-shapes.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "blocks", "said"),
    [
        ("background.md", 2, "1 of 1 segments ready"),
        ("dynamic-shapes.md", 3, "1 hits, 3 misses, 1 built, 0 evictions"),
    ],
)
def test_the_python_shown_runs(name, blocks, said, zoo, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "squeezenet.onnx").symlink_to(zoo("squeezenet"))
    monkeypatch.chdir(tmp_path)
    text = (DOCS / name).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(found) == blocks
    names: dict[str, object] = {}
    for block in found:
        exec(compile(block, name, "exec"), names)
    assert said in capsys.readouterr().out
