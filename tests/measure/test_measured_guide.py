"""docs/measured.md shows only what runs."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = Path(__file__).parents[2] / "docs" / "measured.md"


def test_its_code_runs(tmp_path, monkeypatch, zoo, capsys):
    text = GUIDE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "model.onnx").symlink_to(zoo("squeezenet"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    exec(block.replace('"60s"', '"2s"'), names)
    plans = names["exe"].report.plans
    assert sum(plan.shipped for plan in plans) == 1
    (shipped,) = [plan for plan in plans if plan.shipped]
    singles = [plan.measured for plan in plans if plan.segments <= 1 and plan.measured]
    # the race decides, on a busy machine with some noise
    assert shipped.measured <= 1.2 * min(singles)
    assert len(capsys.readouterr().out.splitlines()) == len(plans)
