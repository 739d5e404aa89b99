"""docs/debugging.md shows only what runs, and prints what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from byoc.debug.diagnosis import KINDS

pytestmark = pytest.mark.filterwarnings("ignore")

GUIDE = Path(__file__).parents[2] / "docs" / "debugging.md"


def test_its_code_runs(tmp_path, monkeypatch, zoo):
    text = GUIDE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (shown,) = re.findall(r"^```text\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "model.onnx").symlink_to(zoo("mlp"))
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block, {})
    assert printed.getvalue() == shown


def test_it_lists_every_kind():
    text = GUIDE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == list(KINDS)
