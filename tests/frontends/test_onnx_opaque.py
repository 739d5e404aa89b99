"""Nodes kept whole for ONNX Runtime, and what is said without it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.errors import ModelError

ort = pytest.importorskip("onnxruntime")


def node(op, inputs, outputs, name="", **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attrs)


def reference(model, feeds):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def det(tools):
    nodes = [node("Relu", "x", "a"), node("Det", "a", "d", "det"), node("Sqrt", "d", "y")]
    return tools.model(nodes, {"x": ("f4", [3, 18, 18])}, {"y": ("f4", [3])})


@pytest.mark.parametrize("seed", [0, 1])
def test_an_opaque_node_runs_on_onnxruntime_and_is_saved(tools, tmp_path, seed):
    model = det(tools)
    x = np.random.default_rng(seed).random((3, 18, 18), np.float32) / 20 + np.eye(
        18, dtype=np.float32
    )
    exe = byoc.compile(model, ["onnxruntime"])
    (expected,) = reference(model, {"x": x})
    np.testing.assert_allclose(exe(x), expected, rtol=1e-4)
    assert "byoc.onnx" in exe.report.table(ops=True)
    exe.save(tmp_path / "m.byoc")
    np.testing.assert_array_equal(byoc.load(tmp_path / "m.byoc")(x), exe(x))


def test_without_the_vendor_the_error_names_op_node_and_extra(tools):
    with pytest.raises(
        ModelError, match=r"node 'det' \(Det\).*more than 16.*tvm-byoc\[onnxruntime"
    ):
        byoc.compile(det(tools))
    report = byoc.partition_model(det(tools)).report  # a dry run shows it on the host
    assert "byoc.onnx" in report.table(ops=True)


def test_a_region_grows_until_its_result_is_a_tensor(tools):
    nodes = [
        node("SequenceConstruct", "x x", "s", "pair"),
        node("SequenceAt", "s i", "a", "at"),
        node("Neg", "a", "y", "neg"),
    ]
    model = tools.model(
        nodes, {"x": ("f4", [2, 3])}, {"y": ("f4", [2, 3])}, {"i": np.array(1, np.int64)}
    )
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(byoc.compile(model, ["onnxruntime"])(x), -x)


def test_opsets_that_differ_run_one_after_the_other(tools):
    nodes = [node("Relu", "x", "a"), node("Det", "a", "d"), node("Relu", "d", "y")]
    model = tools.model(nodes, {"x": ("f4", [17, 17])}, {"y": ("f4", [])}, opset=22)
    x = np.diag(np.ones(17, np.float32))  # larger than byoc's own Det
    x[:2, :2] = [[2, 1], [0.5, 3]]
    np.testing.assert_allclose(byoc.compile(model, ["onnxruntime"])(x), 5.5, rtol=1e-6)


def test_a_result_of_unknown_length_comes_out_as_long_as_it_is(tools):
    nodes = [node("NonMaxSuppression", "b s k", "y", "nms")]
    model = tools.model(
        nodes,
        {"b": ("f4", [1, 6, 4]), "s": ("f4", [1, 1, 6])},
        {"y": ("i8", ["n", 3])},
        {"k": np.array([2], np.int64)},
    )
    rng = np.random.default_rng(0)
    feeds = {"b": rng.random((1, 6, 4), np.float32), "s": rng.random((1, 1, 6), np.float32)}
    found = byoc.compile(model, ["onnxruntime"]).run(feeds)["y"]
    np.testing.assert_array_equal(found, reference(model, feeds)[0])
    np.testing.assert_array_equal(byoc.compile(model, []).run(feeds)["y"], found)


def test_a_row_of_minus_infinity_has_that_maximum(tools):
    reduce = helper.make_node("ReduceMax", ["x"], ["y"], axes=[1], keepdims=0)
    model = tools.model([reduce], {"x": ("f4", [2, 3])}, {"y": ("f4", [2])}, opset=13)
    x = np.array([[-np.inf] * 3, [1, -np.inf, 2]], np.float32)
    np.testing.assert_array_equal(byoc.compile(model)(x), [-np.inf, 2])


def test_small_floats_are_not_converted_by_tvm(tools):
    cast = node("Cast", "x", "y", "small", to=TensorProto.FLOAT8E4M3FN)
    back = node("Cast", "y", "z", "back", to=TensorProto.FLOAT)
    model = tools.model([cast, back], {"x": ("f4", [3])}, {"z": ("f4", [3])}, opset=19)
    with pytest.raises(
        ModelError, match="'small'.*no exact conversion.*'onnxruntime' \\(pip install"
    ):
        byoc.compile(model)
    model = tools.model([cast], {"x": ("f4", [3])}, {"y": ("f4", [3])}, opset=19)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    for vendors in ((), ("onnxruntime",)):
        with pytest.raises(ModelError, match="'small'.*end the model before it, in a tensor of bf"):
            byoc.compile(model, vendors)


@pytest.mark.parametrize("kind", ["INT2", "UINT4", "FLOAT4E2M1"])
def test_an_input_of_parts_of_bytes_is_refused_with_its_reader(tools, kind):
    cast = node("Cast", "x", "y", "widen", to=TensorProto.FLOAT)
    model = tools.model([cast], {"x": ("f4", [3])}, {"y": ("f4", [3])}, opset=25)
    model.graph.input[0].type.tensor_type.elem_type = getattr(TensorProto, kind)
    text = rf"input 'x', read by node 'widen' \(Cast\), is a tensor of {kind.lower()}.*make it int8"
    for vendors in ((), ("onnxruntime",)):
        with pytest.raises(ModelError, match=text):
            byoc.compile(model, vendors)


@pytest.mark.parametrize(
    ("domain", "op", "advice"),
    [
        ("ai.onnx.preview.training", "Adam", "Export the model for inference"),
        ("com.acme", "Foo", "needs a function of its name in the model file"),
    ],
)
def test_operators_that_nobody_knows_are_named_with_what_to_do(tools, domain, op, advice):
    step = helper.make_node(op, ["x"], ["y"], name="step", domain=domain)
    model = tools.model([step], {"x": ("f4", [1])}, {"y": ("f4", [1])}, domains={domain: 1})
    with pytest.raises(ModelError, match=rf"{domain}::{op} \(1, first at 'step'\).*{advice}"):
        byoc.compile(model)
