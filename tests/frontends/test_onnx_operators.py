"""ONNX operators that have our own converters, in the versions they cover, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import byoc
from byoc.errors import ModelError
from byoc.frontends import import_model


def node(op, inputs, outputs, name="", **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), name=name, **attrs)


def many(tools, cases, inputs, weights, opset):
    """One model of independent nodes: one compilation for all. cases: (node, dtype, shape)."""
    nodes = [c[0] for c in cases]
    outputs = {n.output[0]: spec for n, *spec in cases}
    return tools.model(nodes, inputs, outputs, weights, opset)


def test_padding_slicing_gathering(tools):
    weights = {
        "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
        "crop": np.array([0, 0, -1, 1, 0, 0, 1, -1]),
        "short": np.array([1, 2]),
        "axes": np.array([-1]),
        "seven": np.float32(7),
        "one": np.array(1),
        "last": np.array([-1]),
        "ids": np.array([[0, -1], [2, 1]]),
        "reps": np.array([1, 2, 1, 3]),
    }
    image = ("f4", [1, 3, 4, 5])
    cases = [
        (node("Pad", "x pads seven", "a"), "f4", [1, 3, 7, 8]),
        (node("Pad", "x pads", "b", mode="reflect"), "f4", [1, 3, 7, 8]),
        (node("Pad", "x pads", "c", mode="edge"), "f4", [1, 3, 7, 8]),
        (node("Pad", "x crop", "d"), "f4", [1, 3, 4, 5]),
        (helper.make_node("Pad", ["x", "short", "", "axes"], ["e"]), "f4", [1, 3, 4, 8]),
        (node("Gather", "x one", "f", axis=1), "f4", [1, 4, 5]),
        (node("Gather", "x last", "g", axis=2), "f4", [1, 3, 1, 5]),
        (node("Gather", "x ids", "h", axis=-1), "f4", [1, 3, 4, 2, 2]),
        (node("Gather", "x i", "i2", axis=1), "f4", [1, 2, 4, 5]),
        (node("Tile", "x reps", "j"), "f4", [1, 6, 4, 15]),
        (node("Flatten", "x", "k", axis=-2), "f4", [3, 20]),
        (node("Flatten", "x", "l", axis=0), "f4", [1, 60]),
    ]
    model = many(tools, cases, {"x": image, "i": ("i8", [2])}, weights, 18)
    feeds = {"x": tools.feeds(model, 0, {})["x"], "i": np.array([-1, 0])}
    imported = import_model(model)
    found = tools.run(imported.mod, *(feeds[n] for n in imported.inputs))
    tools.close(found, tools.reference(model, feeds))
    assert "call_tir" not in tools.ops(imported.mod), "an op that patterns cannot see"


def test_elementwise_and_n_ary(tools):
    weights = {"lo": np.float32(-0.5), "hi": np.float32(0.75), "nan": np.float32(np.nan)}
    row = ("f4", [2, 3])
    cases = [
        (node("Clip", "x lo hi", "a"), *row),
        (helper.make_node("Clip", ["x", "", "hi"], ["b"]), *row),
        (node("Clip", "x nan hi", "c"), *row),
        (node("Sum", "x y x", "d"), *row),
        (node("Max", "x y", "e"), *row),
        (node("Min", "x y z", "f"), *row),
        (node("Mean", "x y z", "g"), *row),
        (node("HardSwish", "x", "h"), *row),
        (node("HardSigmoid", "x", "i", alpha=0.3, beta=0.4), *row),
        (node("Celu", "x", "j", alpha=2.0), *row),
        (node("Cast", "x", "k", to=TensorProto.INT32), "i4", [2, 3]),
        (node("Cast", "x", "l", to=TensorProto.BOOL), "?", [2, 3]),
        (node("Dropout", "x", "m"), *row),
        (node("Einsum", "x y", "n", equation="ij, kj -> ik"), "f4", [2, 2]),
        (node("LeakyRelu", "x", "o", alpha=0.2), *row),
        (node("Mish", "x", "p"), *row),
    ]
    model = many(tools, cases, {"x": row, "y": row, "z": ("f4", [3])}, weights, 18)
    imported = tools.same_as_reference(model)
    assert "stack" not in tools.ops(imported.mod)
    assert "nn.dropout" not in tools.ops(imported.mod)


def test_old_opsets(tools):
    x = ("f4", [1, 4, 6])
    cases = [
        (node("Clip", "x", "a", min=-0.2, max=0.3), *x),
        (node("Slice", "x", "b", starts=[1, -3], ends=[3, 100], axes=[1, 2]), "f4", [1, 2, 3]),
        (node("Pad", "x", "c", pads=[0, 0, 1, 0, 0, 2], value=1.5), "f4", [1, 4, 9]),
        (node("Softmax", "x", "d", axis=1), *x),
        (node("Squeeze", "x", "e", axes=[0]), "f4", [4, 6]),
        (node("Unsqueeze", "x", "f", axes=[0, 3]), "f4", [1, 1, 4, 1, 6]),
        (node("Dropout", "x", "g", ratio=0.3), *x),
        (node("ReduceSum", "x", "h", axes=[1], keepdims=0), "f4", [1, 6]),
    ]
    tools.same_as_reference(many(tools, cases, {"x": x}, {}, 9), seeds=[0])


def test_convolutions_and_pools(tools, rng):
    image = ("f4", [1, 4, 7, 8])
    weights = {
        "w": rng.standard_normal((6, 2, 3, 3)).astype("f4"),
        "d": rng.standard_normal((4, 1, 3, 3)).astype("f4"),
        "t": rng.standard_normal((4, 3, 2, 2)).astype("f4"),
        "b": rng.standard_normal(6).astype("f4"),
        "v": rng.standard_normal(3).astype("f4"),
    }
    same = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
    lower = {"auto_pad": "SAME_LOWER", "strides": [2, 3]}
    cases = [
        (node("Conv", "x w b", "a", group=2, pads=[1, 0, 2, 1]), "f4", [1, 6, 8, 7]),
        (node("Conv", "x w b", "a2", group=2, **same), "f4", [1, 6, 4, 4]),
        (node("Conv", "x d", "a3", group=4, **lower), "f4", [1, 4, 4, 3]),
        (node("Conv", "x d", "a4", group=4, auto_pad="VALID"), "f4", [1, 4, 5, 6]),
        (node("ConvTranspose", "x t v", "b2", strides=[2, 2]), "f4", [1, 3, 14, 16]),
        (node("MaxPool", "x", "c", kernel_shape=[3, 3], **same), "f4", [1, 4, 4, 4]),
        (node("MaxPool", "x", "c2", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
         "f4", [1, 4, 3, 4]),
        (node("AveragePool", "x", "e", kernel_shape=[3, 3], **same), "f4", [1, 4, 4, 4]),
        (node("AveragePool", "x", "e2", kernel_shape=[3, 3], pads=[1, 1, 1, 1],
              count_include_pad=1), "f4", [1, 4, 7, 8]),
        (node("GlobalAveragePool", "x", "f"), "f4", [1, 4, 1, 1]),
        (node("LRN", "x", "g", size=3, alpha=0.1, beta=0.5, bias=2.0), *image),
    ]  # fmt: skip
    imported = tools.same_as_reference(many(tools, cases, {"x": image}, weights, 13))
    ops = tools.ops(imported.mod)
    assert "call_tir" not in ops and "nn.pad" not in ops
    assert ops["add"] == 4 and "reshape" not in ops, "biases are constants"


def test_products(tools, rng):
    weights = {
        "w": rng.standard_normal((5, 4)).astype("f4"),
        "r": rng.standard_normal((4, 5)).astype("f4"),
        "b": rng.standard_normal(5).astype("f4"),
        "m": rng.standard_normal((3, 5)).astype("f4"),
    }
    out = ("f4", [3, 5])
    cases = [
        (node("Gemm", "x w b", "a", transB=1), *out),
        (node("Gemm", "x r b", "b1", alpha=0.5, beta=2.0), *out),
        (node("Gemm", "y w", "c", transA=1, transB=1), *out),
        (node("Gemm", "x r m", "d"), *out),
        (node("Gemm", "x w b", "e", transB=1, alpha=0.0), *out),
        (node("MatMul", "x r", "f"), *out),
    ]
    inputs = {"x": ("f4", [3, 4]), "y": ("f4", [4, 3])}
    ops = tools.ops(tools.same_as_reference(many(tools, cases, inputs, weights, 13)).mod)
    assert ops["matmul"] <= 6 and ops["permute_dims"] == 1, "weights are transposed constants"


def test_norms(tools, rng):
    image, rows = ("f4", [2, 4, 3, 3]), ("f4", [2, 3, 8])
    names = ["g", "b", "m"]
    weights = {n: rng.standard_normal(4).astype("f4") for n in names}
    weights |= {"v": rng.random(4).astype("f4") + 0.5}
    weights |= {n: rng.standard_normal(8).astype("f4") for n in ("lg", "lb")}
    cases = [
        (node("BatchNormalization", "x g b m v", "a", epsilon=1e-3), *image),
        (node("InstanceNormalization", "x g b", "c"), *image),
        (node("LayerNormalization", "r lg lb", "d"), *rows),
        (node("LayerNormalization", "r lg", "e", epsilon=1e-2), *rows),
    ]
    model = many(tools, cases, {"x": image, "r": rows}, weights, 17)
    model.graph.node[2].output.extend(["mean", "inverse"])
    for name in ("mean", "inverse"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3, 1]))
    tools.same_as_reference(model)


def test_constants_in_every_form(tools):
    tensor = numpy_helper.from_array(np.array([[1.5, 2.5]], np.float32))
    filled = numpy_helper.from_array(np.array([3.0], np.float32))
    cases = [
        (node("Add", "x a", "a2"), "f4", [1, 2]),
        (node("Add", "x b", "b2"), "f4", [1, 2]),
        (node("Add", "x c", "c2"), "f4", [1, 2]),
        (node("Add", "x d", "d2"), "f4", [1, 2]),
    ]
    model = many(tools, cases, {"x": ("f4", [1, 2])}, {"shape": np.array([1, 2])}, 17)
    constants = [
        helper.make_node("Constant", [], ["a"], value=tensor),
        helper.make_node("Constant", [], ["b"], value_float=0.5),
        helper.make_node("Constant", [], ["c"], value_floats=[1.0, 2.0]),
        node("ConstantOfShape", "shape", "d", value=filled),
    ]
    for made in reversed(constants):
        model.graph.node.insert(0, made)
    assert tools.ops(tools.same_as_reference(model).mod) == {"add": 4}


def test_shape_arithmetic_over_symbols(tools):
    """View of [batch, n, 6] as [batch, n * 2, 3], computed as exporters do."""
    weights = {"zero": np.array(0), "one": np.array(1), "two": np.array(2), "three": np.array([3]),
               "ax": np.array([0])}  # fmt: skip
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "b0"),
        node("Gather", "s one", "n0"),
        node("Mul", "n0 two", "n2"),
        node("Unsqueeze", "b0 ax", "b1"),
        node("Unsqueeze", "n2 ax", "n1"),
        node("Concat", "b1 n1 three", "to", axis=0),
        node("Reshape", "x to", "y0"),
        node("Relu", "y0", "y"),
    ]
    model = tools.model(
        nodes, {"x": ("f4", ["batch", "n", 6])}, {"y": ("f4", ["batch", None, 3])}, weights
    )
    imported = import_model(model)
    assert tools.ops(imported.mod) == {"reshape": 1, "nn.relu": 1}
    assert [d.name for d in list(imported.mod["main"].params[0].ty.shape)[:2]] == ["batch", "n"]
    for batch, n in ((1, 4), (3, 5)):
        feeds = tools.feeds(model, 0, {"batch": batch, "n": n})
        tools.close(tools.run(imported.mod, feeds["x"]), tools.reference(model, feeds))


def test_what_tvm_reads_differently(tools, rng):
    weights = {
        "t": rng.standard_normal((3, 2, 3, 3)).astype("f4"),
        "to": np.array([2, 1, 6]),
        "three": np.array(3),
        "g": rng.standard_normal((3, 4)).astype("f4"),
    }
    cases = [
        (node("Shape", "x", "a"), "i8", [4]),
        (node("Expand", "e to", "b"), "f4", [2, 3, 6]),
        (node("Pow", "i three", "c"), "i8", [3]),
        (node("ConvTranspose", "x t", "d", strides=[3, 2], output_shape=[10, 8]),
         "f4", [1, 2, 10, 8]),
        (node("RMSNormalization", "r g", "f", axis=0), "f4", [3, 4]),
    ]  # fmt: skip
    inputs = {"x": ("f4", [1, 3, 3, 3]), "e": ("f4", [3, 1]), "i": ("i8", [3]), "r": ("f4", [3, 4])}
    tools.same_as_reference(many(tools, cases, inputs, weights, 23), seeds=[0])


def test_a_shape_that_the_model_computes_broadcasts_both_ways(tools):
    model = tools.model(
        [node("Expand", "x s", "y")], {"x": ("f4", [3, 1]), "s": ("i8", [3])}, {"y": ("f4", None)}
    )
    feeds = {"x": np.ones((3, 1), "f4"), "s": np.array([2, 1, 6])}
    found = tools.run(import_model(model).mod, feeds["x"], feeds["s"])
    tools.close(found, tools.reference(model, feeds))


def test_shapes_are_outputs_too(tools):
    nodes = [node("Shape", "x", "s"), node("Relu", "x", "y"), node("Identity", "x", "z")]
    model = tools.model(
        nodes,
        {"x": ("f4", ["n", 2])},
        {"s": ("i8", [2]), "y": ("f4", ["n", 2]), "z": ("f4", ["n", 2])},
    )
    tools.same_as_reference(model, dims={"n": 3})


def test_both_branches_of_an_if_stay_inside(tools):
    def branch(op, name):
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph(
            [node("Exp", "x", name + "_e"), node(op, name + "_e", name)], name, [], [out]
        )

    nodes = [
        node("ReduceSum", "x", "total", keepdims=0),
        node("Greater", "total zero", "hot"),
        node("If", "hot", "y", name="choice", then_branch=branch("Relu", "t"),
             else_branch=branch("Tanh", "e")),
    ]  # fmt: skip
    x, out = {"x": ("f4", [2, 3])}, {"y": ("f4", [2, 3])}
    model = tools.model(nodes, x, out, {"zero": np.float32(0)})
    imported = import_model(model)
    outside = [op for _, op in tools.names(imported.mod)]
    assert "exp" not in outside and "tanh" not in outside
    assert tools.ops(imported.mod)["exp"] == 2
    for value in (np.ones((2, 3), "f4"), -np.ones((2, 3), "f4")):
        tools.close(tools.run(imported.mod, value), tools.reference(model, {"x": value}))
    constant = tools.model(nodes[2:], x, out, {"hot": np.array(True)})
    assert tools.ops(import_model(constant).mod) == {"exp": 1, "nn.relu": 1}


def test_operators_defined_by_others_are_inlined(tools):
    model = tools.model(
        [node("ThresholdedRelu", "x", "t", alpha=0.5), node("MeanVarianceNormalization", "t", "y")],
        {"x": ("f4", [2, 3, 4, 4])},
        {"y": ("f4", [2, 3, 4, 4])},
    )
    tools.same_as_reference(model, seeds=[0])


def test_functions_of_the_model_are_inlined(tools):
    function = helper.make_function(
        "own", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
    )
    model = tools.model(
        [helper.make_node("Twice", ["x"], ["y"], domain="own")],
        {"x": ("f4", [2])},
        {"y": ("f4", [2])},
        domains={"own": 1},
        functions=[function],
    )
    assert tools.ops(import_model(model).mod) == {"add": 1}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node("Conv", "x x", "y", auto_pad="SAME"), "auto_pad 'SAME' is not NOTSET"),
        (node("Pad", "x q", "y", mode="mirror"), "mode 'mirror' is not one of constant"),
        (node("Flatten", "x", "y", axis=7), "axis 7 does not fit 4 dimensions"),
        (node("Cast", "x", "y", to=TensorProto.STRING), "strings is not supported"),
    ],
)
def test_refusals_name_the_node_and_the_reason(tools, made, reason):
    made.name = "/block/op"
    model = tools.model(
        [made],
        {"x": ("f4", [1, 2, 4, 4]), "p": ("i8", [8])},
        {"y": ("f4", None)},
        {"q": np.zeros(8, np.int64)},
    )
    with pytest.raises(ModelError, match=reason) as caught:
        byoc.compile(model)
    assert f"node '/block/op' (ai.onnx::{made.op_type}, opset 17)" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node("ArgMax", "x", "y", axis=-2), "largest or smallest of no elements"),
        (node("ArgMin", "x", "y"), "largest or smallest of no elements"),
        (node("ReduceMean", "x", "y"), "mean of no elements, which ONNX leaves undefined"),
        (node("ReduceMean", "x", "y", axes=[1, 0]), "mean of no elements"),
    ],
)
def test_what_has_no_answer_for_no_elements_is_refused(tools, made, reason):
    kind = "f4" if made.op_type == "ReduceMean" else "i8"
    model = tools.model([made], {"x": ("f4", [0, 3])}, {"y": (kind, None)})
    with pytest.raises(ModelError, match=reason):
        byoc.compile(model)


@pytest.mark.parametrize(
    "made", [node("ArgMax", "x", "y", axis=0), node("ReduceMean", "x", "y", axes=[0])]
)
def test_what_keeps_no_elements_is_empty(tools, made):
    kind = "f4" if made.op_type == "ReduceMean" else "i8"
    model = tools.model([made], {"x": ("f4", [3, 0])}, {"y": (kind, None)})
    assert byoc.compile(model)(np.zeros((3, 0), np.float32)).shape == (1, 0)
