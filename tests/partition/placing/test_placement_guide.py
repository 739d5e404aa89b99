"""docs/placement.md shows only what runs."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = Path(__file__).parents[3] / "docs" / "placement.md"


def test_its_code_runs(tmp_path, monkeypatch, zoo, capsys):
    text = GUIDE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "model.onnx").symlink_to(zoo("squeezenet"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec("\n".join(blocks), names)
    plan = names["plan"]
    assert plan.report.placement == "model"
    assert {op.place for op in plan.report.ops if op.op == "nn.conv2d"} <= {"fast", "far", "host"}
    again, result = names["again"], names["result"]
    assert [op.place for op in again.report.ops] == [op.place for op in result.report.ops]
    assert "seconds predicted" in capsys.readouterr().out
