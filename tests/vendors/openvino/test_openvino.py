"""The `openvino` vendor on whole models, and what it refuses.

Its ops are checked one by one in tests/kit.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tvm
from tvm import relax

import byoc
from byoc.bench.difference import difference
from byoc.errors import CompileError, ExecutionError, OptionError
from byoc.runtime.engines import stored_engines
from byoc.testing.zoo import build, random_inputs

pytest.importorskip("openvino")


@pytest.mark.parametrize("name", ["squeezenet", "mlp"])
def test_whole_models_agree_with_onnx_runtime(name, reference):
    model = build(name)
    exe = byoc.compile(model, ["openvino"])
    assert exe.report.coverage.flops == 1
    for seed in range(2):
        inputs = random_inputs(model, seed)
        for key, expected in reference(model, inputs).items():
            assert difference(exe.run(inputs)[key], expected).relative <= 1e-4


def test_refusals_say_why():
    x = relax.Var("x", relax.TensorType((4, 4), "float64"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            result = bb.emit_output(relax.op.exp(x))
        bb.emit_func_output(result)
    report = byoc.partition_model(bb.get(), ["openvino"], min_segment_ops=1).report
    assert report.host_ops[0].refusals[0].reason.startswith("dtype float64 is computed in another")


def test_wrong_options_are_refused():
    model = build("mlp")
    with pytest.raises(CompileError, match="finds no device 'NOPE' on this machine; devices: CPU"):
        byoc.compile(model, {"openvino": {"device": "NOPE"}})
    with pytest.raises(OptionError, match="precision"):
        byoc.compile(model, {"openvino": {"precision": "f8"}})


def _look_up(indices, mode="wrap", *, inside=False):
    """exp(x)[indices], the table of a size that is known at run time; inside: cast in there."""
    size = tvm.tirx.Var("n", "int64")
    x = relax.Var("x", relax.TensorType((size, 4), "float32"))
    i = relax.Var("i", relax.TensorType((3,), "int32" if inside else "int64"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x, i]):
        with bb.dataflow():
            index = bb.emit(relax.op.add(i, relax.const(1, "int32"))) if inside else i
            y = bb.emit(relax.op.take(bb.emit(relax.op.exp(x)), index, 0, mode))
            result = bb.emit_output(y)
        bb.emit_func_output(result)
    exe = byoc.compile(bb.get(), ["openvino"], min_segment_ops=1)
    assert {record.place for record in exe.report.ops} == {"openvino"}
    table = np.linspace(-1, 1, 20, dtype="float32").reshape(5, 4)
    dtype = "int32" if inside else "int64"
    return exe(table, np.array(indices, dtype)), np.exp(table)


@pytest.mark.parametrize("inside", [False, True])
def test_indices_are_checked_where_the_table_has_its_size_at_run_time(inside):
    shift = 1 if inside else 0
    got, table = _look_up(np.array([0, 4, -5]) - shift, inside=inside)
    np.testing.assert_allclose(got, table[[0, 4, -5]], rtol=1e-5)
    for bad in (5, -6, 2**31 - 2):
        with pytest.raises(ExecutionError, match="lies outside axis 0 of size 5; legal: -5 to 4"):
            _look_up(np.array([0, bad, 1]) - shift, inside=inside)
    with pytest.raises(ExecutionError, match="lies outside axis 0 of size 5; legal: 0 to 4"):
        _look_up(np.array([0, -1, 1]) - shift, "fast", inside=inside)


def test_a_constant_index_outside_its_axis_is_an_error_when_it_is_read():
    x = relax.Var("x", relax.TensorType((5, 4), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            index = relax.const(np.array([0, 5]), "int64")
            result = bb.emit_output(relax.op.take(x, index, 0, "wrap"))
        bb.emit_func_output(result)
    exe = byoc.compile(bb.get(), ["openvino"], min_segment_ops=1)
    with pytest.raises(ExecutionError, match="take: .*outside axis 0 of size 5; legal: -5 to 4"):
        exe(np.zeros((5, 4), "float32"))


def test_refusals_of_whole_numbers_say_why():
    x = relax.Var("x", relax.TensorType((4,), "int64"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            result = bb.emit_output(relax.op.multiply(x, x))
        bb.emit_func_output(result)
    report = byoc.partition_model(bb.get(), ["openvino"], min_segment_ops=1).report
    reason = report.host_ops[0].refusals[0].reason
    assert reason == "multiply: OpenVINO computes int64 in 32 bits on the CPU"


def _renamed(model):
    """The model with another name for itself and for everything in it."""
    renamed = onnx.ModelProto()
    renamed.CopyFrom(model)
    graph = renamed.graph
    graph.name = "another"
    for node in graph.node:
        node.name = f"layer/{node.name}"
        node.input[:] = [f"t/{name}" if name else "" for name in node.input]
        node.output[:] = [f"t/{name}" if name else "" for name in node.output]
    for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        value.name = f"t/{value.name}"
    return renamed


def test_a_model_that_was_compiled_before_is_found_whatever_its_names(monkeypatch, tmp_path):
    monkeypatch.setenv("BYOC_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("BYOC_ENGINE_BYTES")
    model = build("squeezenet")
    inputs = list(random_inputs(model, 0).values())
    cold = byoc.compile(model, ["openvino"])(*inputs)
    assert len(stored_engines()) == 1
    warm = byoc.compile(_renamed(model), ["openvino"])(*inputs)
    assert len(stored_engines()) == 1
    np.testing.assert_array_equal(cold, warm)
    byoc.compile(model, {"openvino": {"precision": "bf16"}})
    byoc.compile(model, {"openvino": {"threads": 2}})
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weight = max(changed.graph.initializer, key=lambda t: len(t.raw_data))
    weight.raw_data = weight.raw_data[:-1] + bytes([weight.raw_data[-1] ^ 1])
    byoc.compile(changed, ["openvino"])
    assert len(stored_engines()) == 4
