"""Memory told before a run, and what sessions of one artifact share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc

WIDTH, LAYERS = 512, 3
WEIGHTS = LAYERS * WIDTH * WIDTH * 4


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Dense layers on dnnl, each with a host twin."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(LAYERS):
        w = (rng.standard_normal((WIDTH, WIDTH)) / 20).astype("float32")
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"]))
        last = f"r{i}"
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, "dense", [helper.make_tensor_value_info("x", kind, [4, WIDTH])],
        [helper.make_tensor_value_info(last, kind, [4, WIDTH])], weights,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = tmp_path_factory.mktemp("memory") / "m.byoc"
    byoc.compile(model, vendors=["dnnl"]).save(path)
    return path


def mapped(path: Path) -> int:
    """Mappings of a file in this process."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return sum(line.endswith(str(path)) for line in maps.splitlines())


def test_peak_is_known_before_the_first_run(file):
    exe = byoc.load(file)
    memory = exe.memory
    assert memory.ports == 2 * 4 * WIDTH * 4
    # every weight is there once: where the file has it, or packed
    assert WEIGHTS <= memory.weights + memory.packed < 1.2 * WEIGHTS
    assert (
        exe.report.peak_bytes
        == memory.peak_bytes
        == sum((memory.weights, memory.packed, memory.workspace, memory.ports, memory.code))
    )
    more = memory.at(3) - memory.at(1)
    assert more == 2 * (memory.workspace + memory.ports)


def test_sessions_of_equal_files_share(file, tmp_path):
    copy = tmp_path / "copy.byoc"
    copy.write_bytes(file.read_bytes())
    x = np.ones((4, WIDTH), "float32")
    first = byoc.load(file)
    once = mapped(file)
    others = [byoc.load(path) for path in (file, copy) * 4]
    assert once == 1 and mapped(file) == 1 and mapped(copy) == 0
    answers = [exe(x) for exe in (first, *others)]
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])
    del first
    np.testing.assert_array_equal(others[0](x), answers[0])
    del others
    assert mapped(file) == 0


def test_the_file_holds_each_weight_once(file):
    assert WEIGHTS < file.stat().st_size < 1.1 * WEIGHTS
