"""Clip as ONNX Runtime has it: every pair of bounds, stored and given, at the edges of floats."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import byoc

ort = pytest.importorskip("onnxruntime")
_EDGES = [-np.inf, -1.0, -0.0, 2.0, np.inf, np.nan]


def _model(stored):
    names = ["lo", "hi"]
    scalars = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, []) for n in names]
    kept = [numpy_helper.from_array(np.float32(v), n) for n, v in zip(names, stored, strict=False)]
    graph = helper.make_graph(
        [helper.make_node("Clip", ["x", *names], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [len(_EDGES)]), *([] if stored else scalars)],
        [helper.make_tensor_value_info("y", 1, [len(_EDGES)])],
        kept,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def _same(model, exe, feeds):
    expected = ort.InferenceSession(model.SerializeToString()).run(None, feeds)[0]
    np.testing.assert_array_equal(exe.run(feeds)["y"], expected, str(feeds))


def test_given_bounds():
    model = _model(())
    exe = byoc.compile(model, vendors=[])
    for low, high in itertools.product(_EDGES, _EDGES):
        _same(model, exe, {"x": np.array(_EDGES, np.float32), "lo": np.array(low, np.float32),
                           "hi": np.array(high, np.float32)})  # fmt: skip


@pytest.mark.parametrize("bounds", [(np.nan, 2.0), (-1.0, np.nan), (2.0, -1.0)])
def test_stored_bounds(bounds):
    model = _model(bounds)
    _same(model, byoc.compile(model, vendors=[]), {"x": np.array(_EDGES, np.float32)})
