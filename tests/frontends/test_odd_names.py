"""Names that TVM or Python give a meaning of their own: in a model file they are names."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import byoc

NAMES = ["main", "main1", "/a/b.0:0", "a b", "ünï", "R.function", "lambda", "x", "0", "if"]


@pytest.mark.parametrize("name", NAMES)
def test_of_nodes_and_values(name):
    inner = [helper.make_node("Abs", ["in"], ["t"], name=name)]
    inner += [helper.make_node("Exp", ["t"], [name], name=f"{name}_2")]
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        inner,
        name,
        [port("in", TensorProto.FLOAT, [2])],
        [port(name, TensorProto.FLOAT, [2])],
    )
    opsets = [helper.make_opsetid("", 17)]
    exe = byoc.compile(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    np.testing.assert_allclose(exe(-np.ones(2, "float32")), np.e, rtol=1e-5)


@pytest.mark.parametrize("name", ["a//0", "a%0", "1//0", "a:0"])
def test_of_dimensions(name):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[D,3] x) => (float[D,3] y) '
    model = onnx.parser.parse_model(f"{text}{{ y = Relu(x) }}")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = name
    assert byoc.compile(model)(np.ones((2, 3), "float32")).shape == (2, 3)
