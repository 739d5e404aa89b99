"""Slices of known and symbolic axes, forward and backward, beyond both ends: as in ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import byoc

ort = pytest.importorskip("onnxruntime")

_PLACES = [0, 1, -1, 2, -3, 6, -7, 1000, -1000, 10**12, -(10**12), 2**31 - 1, 2**63 - 1, -(2**63)]
_STEPS = [1, 1, 2, 3, -1, -1, -2, -3]
_READERS = ["Relu", "Softmax", "ReduceSum", "Neg"]


def _model(rng, dims, count=16):
    """Slices of one input, each read by an operator that needs it in memory of its own."""
    constants = [numpy_helper.from_array(np.array([0, 1]), "axes")]
    nodes = []
    for number in range(count):
        names = [f"{part}{number}" for part in ("starts", "ends")]
        for name in names:
            constants.append(numpy_helper.from_array(rng.choice(_PLACES, 2), name))
        steps = rng.choice(_STEPS, 2)
        constants.append(numpy_helper.from_array(steps, f"steps{number}"))
        inputs = ["x", *names, "axes", f"steps{number}"]
        nodes.append(helper.make_node("Slice", inputs, [f"cut{number}"]))
        reader, attrs = _READERS[rng.integers(len(_READERS))], {}
        if reader == "Softmax":
            attrs = {"axis": int(rng.integers(3))}
        elif reader == "ReduceSum":
            attrs = {"keepdims": int(rng.integers(2))}
        nodes.append(helper.make_node("Exp", [f"cut{number}"], [f"exp{number}"]))
        nodes.append(helper.make_node(reader, [f"exp{number}"], [f"y{number}"], **attrs))
    outputs = [helper.make_empty_tensor_value_info(f"y{number}") for number in range(count)]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, "slices", [x], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("dims", [["n", "t", 2], [3, "t", 2], ["n", 5, 2], [3, 5, 2]])
def test_slices_are_those_of_onnx_runtime(dims):
    rng = np.random.default_rng(len(str(dims)))
    model = _model(rng, dims)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.enable_mem_reuse = False  # what it plans for backward slices is not what it returns
    reference = ort.InferenceSession(model.SerializeToString(), options)
    executable = byoc.compile(model, vendors=[])
    sizes = [(3, 5), (1, 1), (2, 8), (0, 2), (2, 0)]
    shapes = {
        tuple(n if isinstance(d, str) else d for n, d in zip((*size, 2), dims, strict=True))
        for size in sizes
    }
    for shape in sorted(shapes):
        x = rng.standard_normal(shape).astype(np.float32)
        for want, got in zip(reference.run(None, {"x": x}), executable(x), strict=True):
            assert want.shape == np.shape(got)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
