"""A model on the npu whose faults are made good by the twins that `byoc.compile` adds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.quantize import quantize_model
from byoc.runtime import Healing


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((4, 3, 3, 3)).astype("float32")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 8, 8])],
        [numpy_helper.from_array(w, "w")],
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    samples = [{"x": rng.standard_normal((1, 3, 8, 8)).astype("float32")} for _ in range(4)]
    return quantize_model(plain, samples).model


X = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype("float32")


def test_faults_of_the_npu(model, tmp_path):
    right = byoc.compile(model, vendors=["npu"], heal=False)(X)
    faults = [{"kind": "status", "call": 1}, {"kind": "nan", "call": 2}, {"kind": "oom", "call": 4}]
    executable = byoc.compile(
        model, vendors={"npu": {"faults": faults}}, heal=Healing(check_nan=True)
    )
    for _ in range(5):
        np.testing.assert_allclose(executable(X), right, atol=1e-6)
    assert [f.kind for f in executable.faults] == ["error", "nan", "error"]
    executable.save(tmp_path / "m.byoc")
    loaded = byoc.load(tmp_path / "m.byoc")
    np.testing.assert_allclose(loaded(X), right, atol=1e-6)
    assert len(loaded.faults) == 1
    del loaded  # sessions of one file share its segments, and with them the count of calls
    with pytest.raises(byoc.ExecutionError, match="npu_0.*status 0x2f"):
        byoc.load(tmp_path / "m.byoc", heal=False)(X)


def test_twins_come_without_asking_for_the_npu_only(model):
    executable = byoc.compile(model, vendors={"npu": {"faults": [{"kind": "exception"}]}})
    assert executable(X).shape == (1, 4, 8, 8) and executable.faults[0].vendor == "npu"
    assert byoc.compile(model, vendors=["npu"], heal=False)._program.twins == {}
