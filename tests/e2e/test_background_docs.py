"""The Python shown in docs/background.md and docs/dynamic-shapes.md runs, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

DOCS = Path(__file__).parents[2] / "docs"


def small_model() -> onnx.ModelProto:
    """What the text calls squeezenet, for those in a hurry."""
    w = np.random.default_rng(0).standard_normal((8, 3, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], strides=[8, 8]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "squeezenet",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 28, 28])],
        [numpy_helper.from_array(w, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("name", "blocks", "said"),
    [
        ("background.md", 2, "1 of 1 segments ready"),
        ("dynamic-shapes.md", 3, "1 hits, 3 misses, 1 built, 0 evictions"),
    ],
)
def test_the_python_shown_runs(name, blocks, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "models").mkdir()
    onnx.save(small_model(), tmp_path / "models" / "squeezenet.onnx")
    monkeypatch.chdir(tmp_path)
    text = (DOCS / name).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert len(found) == blocks
    names: dict[str, object] = {}
    for block in found:
        exec(compile(block, name, "exec"), names)
    assert said in capsys.readouterr().out
