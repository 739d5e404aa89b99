"""The Python shown in docs/pytorch.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

DOC = Path(__file__).parents[3] / "docs" / "pytorch.md"


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*torch.*:UserWarning:torch"
)
def test_the_python_shown_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
    said = capsys.readouterr().out
    assert "dnnl" in said and "byoc has no converter for example.clipped.default" in said
    assert (tmp_path / "classifier.byoc").stat().st_size > 1000
