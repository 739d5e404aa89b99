"""Operators that ONNX defines by simpler ones, called with inputs left out; sequences, matrices."""

import numpy as np
import onnx
import pytest
from onnx import helper

import byoc
from byoc.errors import ByocError

ort = pytest.importorskip("onnxruntime")
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def _compared(nodes, inputs, outputs, feeds, opset):
    infos = [
        helper.make_tensor_value_info(n, INT64 if feeds[n].dtype == np.int64 else FLOAT, shape)
        for n, shape in inputs.items()
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "bodies", infos, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    want = ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    exe = byoc.compile(model)
    for got, right in zip(exe.run(feeds).values(), want, strict=True):
        assert got.dtype == right.dtype
        np.testing.assert_allclose(got, right, rtol=1e-4, atol=1e-5)
    return exe


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_with_a_past_and_no_mask(causal):
    """Its inputs are made by other ops, so that types have to be inferred."""
    rng = np.random.default_rng(0)
    names = {"q": 3, "k": 3, "v": 3, "past_k": 2, "past_v": 2}
    feeds = {n: rng.standard_normal((2, 4, s, 8)).astype("f") for n, s in names.items()}
    nodes = [helper.make_node("Mul", ["q", "q"], ["squared"], "squared")]
    nodes.append(helper.make_node("Attention", ["squared", "k", "v", "", "past_k", "past_v"],
                                  ["y", "now_k", "now_v"], "attend", is_causal=causal))  # fmt: skip
    nodes.append(helper.make_node("Relu", ["y"], ["z"], "z"))
    shapes = {n: feeds[n].shape for n in names}
    _compared(nodes, shapes, ["z", "now_k", "now_v"], feeds, 23)


@pytest.mark.parametrize("time_axis", [0, 1])
def test_sequences_are_reversed(time_axis):
    rng = np.random.default_rng(time_axis)
    shape = (5, 4, 3) if time_axis == 0 else (4, 5, 3)
    feeds = {"x": rng.standard_normal(shape).astype("f"), "n": np.array([5, 0, 1, 3])}
    node = helper.make_node(
        "ReverseSequence", ["x", "n"], ["y"], "turn", time_axis=time_axis, batch_axis=1 - time_axis
    )
    inputs = {"x": ["a", "b", 3], "n": ["b" if time_axis == 0 else "a"]}
    exe = _compared([node], inputs, ["y"], feeds, 17)
    with pytest.raises(ByocError):
        exe.run({**feeds, "n": np.array([5, 0, 1, 6])})


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_determinants(size):
    rng = np.random.default_rng(size)
    matrices = rng.standard_normal((3, 4, size, size)).astype("f")
    if size > 1:
        matrices[0, 0, 0] = matrices[0, 0, 1]  # no inverse
        matrices[0, 1, 0, 0] = 0  # a pivot from below
        matrices[0, 2, :, 0] = 0
        matrices[0, 3] = np.eye(size)[::-1]
    node = helper.make_node("Det", ["x"], ["y"], "det")
    model = helper.make_model(
        helper.make_graph(
            [node],
            "det",
            [helper.make_tensor_value_info("x", FLOAT, ["n", 4, size, size])],
            [helper.make_empty_tensor_value_info("y")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    (got,) = byoc.compile(model).run({"x": matrices}).values()
    np.testing.assert_allclose(got, np.linalg.det(matrices.astype("f8")), rtol=1e-4, atol=1e-4)
