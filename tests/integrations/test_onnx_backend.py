"""The ONNX backend API, and the runner of onnx's own suite."""

from __future__ import annotations

import json
import subprocess
import sys
import unittest
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import helper

import byoc.integrations.onnx_backend as backend
from byoc.errors import InputError, ModelError, VendorError
from byoc.frontends.onnx.specialise import deciding_inputs

ROOT = Path(__file__).parents[2]


def _add_model(tools):
    nodes = [
        helper.make_node("Add", ["x", "y"], ["s"], name="sum"),
        helper.make_node("Relu", ["s"], ["r"], name="relu"),
    ]
    shape = ("float32", [2, 3])
    return tools.model(nodes, {"x": shape, "y": shape}, {"r": shape, "s": shape})


def test_prepared_model_takes_lists_and_names(tools):
    prepared = backend.prepare(_add_model(tools))
    x = np.array([[1, -2, 3], [4, 5, -6]], np.float32)
    y = np.full((2, 3), 0.5, np.float32)
    results = prepared.run([x, y])
    np.testing.assert_array_equal(results[0], np.maximum(x + y, 0))
    np.testing.assert_array_equal(results.s, x + y)  # outputs have the names of the model
    np.testing.assert_array_equal(prepared.run({"y": y, "x": x})[0], results[0])
    with pytest.raises(InputError, match=r"takes 2 inputs \(x, y\), found 1"):
        prepared.run([x])


def test_run_model_and_vendors(tools):
    model = _add_model(tools)
    x = np.ones((2, 3), np.float32)
    assert backend.run_model(model, [x, -x])[0].sum() == 0
    with pytest.raises(VendorError, match="nobody"):
        backend.prepare(model, vendors=["nobody"])
    with pytest.raises(VendorError, match="nobody"):
        backend.backend_for(["nobody"]).prepare(model)


def test_devices(tools):
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    with pytest.raises(ModelError, match="device 'CUDA' is not served"):
        backend.prepare(_add_model(tools), device="CUDA")


def test_run_node():
    node = helper.make_node("Concat", ["a", "b"], ["c"], axis=1)
    a, b = np.zeros((2, 1), np.float32), np.ones((2, 2), np.float32)
    (c,) = backend.run_node(node, [a, b])
    np.testing.assert_array_equal(c, np.concatenate([a, b], 1))
    with pytest.raises(ModelError, match="reads 2 values, found 1"):
        backend.run_node(node, [a])


@pytest.mark.parametrize(
    "name",
    ["test_relu_cpu", "test_gemm_all_attributes_cpu", "test_basic_conv_with_padding_cpu"],
)
def test_the_suite_itself_runs(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        suite = onnx.backend.test.BackendTest(backend, __name__)
    cases = suite.test_cases["OnnxBackendNodeModelTest"]
    result = unittest.TestResult()
    unittest.TestSuite([cases(name)]).run(result)
    assert (result.testsRun, result.errors, result.failures, result.skipped) == (1, [], [], [])


@pytest.mark.slow
def test_the_runner_keeps_results_and_goes_on_where_it_stopped(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "onnx_backend_table.py")]
    command += ["--results", str(tmp_path), "--match", "test_sigmoid"]
    subprocess.run(command, check=True, capture_output=True)
    kept = tmp_path / "onnx_backend_host.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()]
    assert results
    assert {r["outcome"] for r in results} == {"pass"}
    before = kept.read_text()
    subprocess.run(command, check=True, capture_output=True)  # nothing left to do
    assert kept.read_text() == before


def test_an_axis_of_a_transform_given_at_run_time_is_exact():
    """It is compiled when the axis is seen: sums that cancel are 0, as engines' are not."""
    node = helper.make_node("DFT", ["x", "", "axis"], ["y"])
    x = np.arange(100, dtype=np.float32).reshape(1, 10, 10, 1)
    (y,) = backend.run_node(
        node, [x, np.array(1)], outputs_info=[(np.float32, (1, 10, 10, 2))], opset_version=20
    )
    exact = np.fft.fft(x[..., 0].astype(np.float64), axis=1)
    np.testing.assert_allclose(y, np.stack([exact.real, exact.imag], -1), rtol=1e-6, atol=1e-7)


def test_an_input_read_within_a_branch_can_decide_shapes():
    kind = onnx.TensorProto.INT64
    port = helper.make_tensor_value_info("n1", kind, [1])
    then = helper.make_graph([helper.make_node("Identity", ["n"], ["n1"])], "t", [], [port])
    other = helper.make_graph([helper.make_node("Neg", ["n"], ["n1"])], "e", [], [port])
    nodes = [
        helper.make_node("If", ["c"], ["m"], then_branch=then, else_branch=other),
        helper.make_node("Expand", ["x", "m"], ["y"]),
    ]
    ports = {"c": (onnx.TensorProto.BOOL, []), "n": (kind, [1]), "x": (onnx.TensorProto.FLOAT, [1])}
    graph = helper.make_graph(
        nodes,
        "branch",
        [helper.make_tensor_value_info(n, *spec) for n, spec in ports.items()],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
    )
    assert deciding_inputs(helper.make_model(graph)) == ("c", "n")
