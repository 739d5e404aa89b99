"""The Python shown in docs/runtime.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "runtime.md"


def test_the_python_shown_runs(zoo, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "squeezenet.onnx").symlink_to(zoo("squeezenet"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), names)
    out = capsys.readouterr().out
    assert "3 request(s)" in out and "\n()\n(('dnnl', " in out
    assert out.rstrip().endswith("['error', 'nan']")
    assert (tmp_path / "squeezenet.trace.json").stat().st_size > 1000
