"""docs/tflite.md shows only what runs, and lists what is refused."""

import re
from pathlib import Path

import numpy as np

from byoc.frontends.tflite.ops.table import OPERATORS, REFUSED

GUIDE = Path(__file__).parents[3] / "docs" / "tflite.md"
MODELS = Path(__file__).with_name("models")


def test_its_code_runs(tmp_path, monkeypatch):
    text = GUIDE.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "model.tflite").symlink_to(MODELS / "ds_cnn_int8.tflite")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(block, names)
    assert names["y"].dtype == np.int8
    assert names["y"].shape == (1, 12)


def test_what_it_calls_refused_is():
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][A-Z0-9_]{3,})`", text.split("## What is refused")[1]))
    named -= {"SELECT_TF_OPS"}
    assert len(named) >= 8
    assert named <= set(REFUSED)
    assert not named & set(OPERATORS)
