"""Inputs and outputs that are no tensors of numbers: strings, sequences, optional values."""

from __future__ import annotations

import gc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import byoc
from byoc.errors import ExecutionError, InputError, ModelError
from byoc.plugins.discovery import resolve
from byoc.runtime import value_handles as handles

pytest.importorskip("onnxruntime")


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def sequence(name, kind=TensorProto.FLOAT):
    return helper.make_tensor_sequence_value_info(name, kind, None)


def model(nodes, inputs, outputs, opset=20):
    graph = helper.make_graph(nodes, "values", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def node(op, inputs, outputs, name="", **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attrs)


@pytest.fixture(scope="module")
def strings():
    text = TensorProto.STRING
    return model(
        [node("StringConcat", "a b", "s", "cat"), node("Relu", "x", "r")],
        [tensor("a", [2], text), tensor("b", [2], text), tensor("x", [3])],
        [tensor("s", [2], text), tensor("r", [3])],
    )


def test_without_the_extra_the_error_names_op_node_and_extra(strings):
    with pytest.raises(ModelError, match=r"node 'cat' \(StringConcat\).*tvm-byoc\[onnxruntime\]"):
        byoc.compile(strings)


def test_strings_go_in_and_come_out_and_are_saved(strings, tmp_path):
    exe = byoc.compile(strings, ["onnxruntime"])
    assert [str(p) for p in exe.inputs] == [
        "a: tensor(string)", "b: tensor(string)", "x: float32[3]",
    ]  # fmt: skip
    given = {
        "a": np.array(["x", "y"]),
        "b": np.array(["ä", ""], object),
        "x": np.array([-1, 0, 1], np.float32),
    }
    exe.save(tmp_path / "m.byoc")
    loaded = byoc.load(tmp_path / "m.byoc")
    for found in (exe.run(given), exe.submit(given).result(), loaded.run(given)):
        assert found["s"].tolist() == ["xä", "y"]
        assert found["r"].tolist() == [0, 0, 1]
    with pytest.raises(InputError, match="input 'a' has dtype float64, expected strings"):
        exe.run({**given, "a": np.zeros(2)})


def test_only_opaque_nodes_on_demand(strings):
    (everything,) = resolve(["onnxruntime"])
    (opaque,) = resolve({"onnxruntime": {"only_opaque": True}})
    assert {"opaque", "matmul", "relu"} <= {p.name for p in everything.patterns}
    assert [p.name for p in opaque.patterns] == ["opaque"]
    assert [p.name for p in opaque.vendor.patterns()] == ["opaque"]
    report = byoc.partition_model(strings, {"onnxruntime": {"only_opaque": True}}).report
    assert sum(s.ops for s in report.segments) == 1


def test_sequences_go_in_and_come_out():
    grow = model(
        [node("Neg", "x", "n"), node("SequenceInsert", "s n", "t")],
        [sequence("s"), tensor("x", [2])],
        [sequence("t")],
    )
    exe = byoc.compile(grow, ["onnxruntime"])
    result = exe([np.ones(3, np.float32)], np.array([1, 2], np.float32))
    assert [a.tolist() for a in result] == [[1, 1, 1], [-1, -2]]
    assert [a.tolist() for a in exe([], np.zeros(2, np.float32))] == [[0, 0]]


def test_a_sequence_that_relax_can_express_is_a_list_outside():
    split = model(
        [node("SplitToSequence", "x", "s", axis=0, keepdims=0), node("Relu", "x", "y")],
        [tensor("x", [2, 2])],
        [sequence("s"), tensor("y", [2, 2])],
    )
    parts, whole = byoc.compile(split, ["onnxruntime"])(np.array([[1, -2], [3, 4]], np.float32))
    assert [p.tolist() for p in parts] == [[1, -2], [3, 4]]
    assert whole.tolist() == [[1, 0], [3, 4]]


def test_optional_values():
    port = onnx.ValueInfoProto(name="o")
    port.type.optional_type.elem_type.CopyFrom(tensor("t", [2]).type)
    has = model([node("OptionalHasElement", "o", "y")], [port], [tensor("y", [], TensorProto.BOOL)])
    exe = byoc.compile(has, ["onnxruntime"])
    assert exe(np.ones(2, np.float32)).tolist() is True
    assert exe(None).tolist() is False


def test_results_whose_shape_the_data_decide():
    found = model(
        [node("NonZero", "x", "at")], [tensor("x", [4])], [tensor("at", None, TensorProto.INT64)]
    )
    exe = byoc.compile(found, ["onnxruntime"])
    assert exe(np.array([0, 1, 0, 2], np.float32)).tolist() == [[1, 3]]
    assert exe(np.zeros(4, np.float32)).shape == (1, 0)


def test_no_value_outlives_its_request(strings):
    exe = byoc.compile(strings, ["onnxruntime"])
    text, x = np.array(["a", "b"]), np.zeros(3, np.float32)
    for _ in range(5):
        exe(text, text, x)
    futures = [exe.submit(text, text, x) for _ in range(5)]
    assert all(f.result()[0].tolist() == ["aa", "bb"] for f in futures)
    del futures
    gc.collect()
    assert not handles._inputs
    assert not handles._results


def test_unclaimed_results_are_bounded(monkeypatch):
    monkeypatch.setattr(handles, "MAX_UNTAKEN", 3)
    places = [np.zeros((), np.int64) for _ in range(5)]
    for number, place in enumerate(places):
        handles.put_value(place, number)
    assert handles.take_values(places[2:]) == [2, 3, 4]
    with pytest.raises(ExecutionError, match="not in this process"):
        handles.value_of(places[0])


def test_old_names_of_handles_are_kept_with_a_warning():
    for old, new in (("hold", "handle_of"), ("give", "put_value"), ("claim", "take_values")):
        with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
            assert getattr(handles, old) is getattr(handles, new)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        handles.nothing  # noqa: B018
