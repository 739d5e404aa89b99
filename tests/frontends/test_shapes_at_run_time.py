"""Shapes that symbolic dimensions leave open: right as in ONNX Runtime, or both refuse."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import byoc

ort = pytest.importorskip("onnxruntime")
_TYPES = {"float32": onnx.TensorProto.FLOAT, "int64": onnx.TensorProto.INT64}


def _model(nodes, inputs, constants, outputs, opset=17):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, _TYPES[t], dims) for n, t, dims in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _compare(model, feeds):
    """How many feeds fit, by ONNX Runtime."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    reference = ort.InferenceSession(model.SerializeToString(), options)
    exe, fitting = byoc.compile(model, vendors=[]), 0
    for feed in feeds:
        named = dict(zip((i.name for i in model.graph.input), feed, strict=True))
        try:
            expected = reference.run(None, named)
        except Exception:
            with pytest.raises(byoc.ByocError):
                exe(*feed)
            continue
        found = exe(*feed)
        found = found if isinstance(found, tuple) else (found,)
        fitting += 1
        for want, got in zip(expected, found, strict=True):
            assert want.shape == np.shape(got)
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    return fitting


def _f(*shape):
    return np.arange(1, 1 + int(np.prod(shape)), dtype=np.float32).reshape(shape)


def _i(*values):
    return np.array(values, np.int64)


_NODE = helper.make_node
_CASES = {
    "reshape": (
        [_NODE("Reshape", ["a", "s"], ["y"])],
        [("a", "float32", ["n"])],
        {"s": _i(-1, 4)},
        [[_f(8)], [_f(6)], [_f(3)]],
    ),
    "products": (
        [_NODE("MatMul", ["a", "b"], ["t"]), _NODE("Add", ["t", "c"], ["y"])],
        [("a", "float32", [2, "k"]), ("b", "float32", ["l", "m"]), ("c", "float32", ["p"])],
        {},
        [
            [_f(2, 3), _f(3, 4), _f(4)],
            [_f(2, 3), _f(3, 4), _f(1)],
            [_f(2, 3), _f(4, 2), _f(2)],
            [_f(2, 3), _f(3, 4), _f(3)],
        ],
    ),
    "concat": (
        [_NODE("Concat", ["a", "b"], ["y"], axis=0)],
        [("a", "float32", ["n", "k"]), ("b", "float32", ["m", "j"])],
        {},
        [[_f(2, 3), _f(1, 3)], [_f(2, 3), _f(1, 2)], [_f(2, 3), _f(0, 3)]],
    ),
    "convolution": (
        [_NODE("Conv", ["a", "w"], ["y"])],
        [("a", "float32", ["b", "c", "h", 4])],
        {"w": _f(2, 2, 3, 3)},
        [[_f(1, 2, 5, 4)], [_f(1, 3, 5, 4)], [_f(1, 1, 5, 4)], [_f(1, 2, 1, 4)]],
    ),
    "split": (
        [_NODE("Split", ["a", "s"], ["y", "z"])],
        [("a", "float32", ["n"])],
        {"s": _i(2, 3)},
        [[_f(5)], [_f(4)], [_f(7)]],
    ),
    "squeeze": (
        [_NODE("Squeeze", ["a", "s"], ["y"])],
        [("a", "float32", ["n", 2])],
        {"s": _i(0)},
        [[_f(1, 2)], [_f(3, 2)]],
    ),
    "slice by shape": (
        [_NODE("Shape", ["b"], ["s"]), _NODE("Slice", ["a", "z", "s"], ["y"])],
        [("a", "float32", ["n"]), ("b", "float32", ["m"])],
        {"z": _i(0)},
        [[_f(7), _f(3)], [_f(3), _f(7)], [_f(3), _f(0)]],
    ),
    "slice from shape": (
        [_NODE("Shape", ["b"], ["s"]), _NODE("Slice", ["a", "s", "e"], ["y"])],
        [("a", "float32", ["n"]), ("b", "float32", ["m"])],
        {"e": _i(2**63 - 1)},
        [[_f(7), _f(3)], [_f(3), _f(7)], [_f(3), _f(0)]],
    ),
    "slice backward": (
        [_NODE("Slice", ["a", "s", "e", "x", "t"], ["y"])],
        [("a", "float32", ["n"]), ("s", "int64", [1]), ("e", "int64", [1])],
        {"x": _i(0), "t": _i(-2)},
        [
            [_f(7), _i(-1), _i(-(2**62))],
            [_f(7), _i(4), _i(0)],
            [_f(0), _i(-1), _i(-9)],
            [_f(3), _i(1), _i(2)],
        ],
    ),
    "expand": (
        [_NODE("Expand", ["a", "s"], ["y"])],
        [("a", "float32", ["n"]), ("s", "int64", [2])],
        {},
        [
            [_f(4), _i(2, 4)],
            [_f(1), _i(2, 4)],
            [_f(4), _i(2, 1)],
            [_f(3), _i(2, 4)],
            [_f(3), _i(2, 2)],
            [_f(4), _i(-1, 4)],
            [_f(1), _i(2, 0)],
        ],
    ),
    "constant of shape": (
        [_NODE("ConstantOfShape", ["s"], ["y"])],
        [("s", "int64", [2])],
        {},
        [[_i(2, 3)], [_i(0, 3)], [_i(-1, 3)], [_i(-2, -3)]],
    ),
    "pad": (
        [_NODE("Pad", ["a", "p"], ["y"])],
        [("a", "float32", ["n", 3]), ("p", "int64", [4])],
        {},
        [
            [_f(4, 3), _i(1, 0, 2, 1)],
            [_f(4, 3), _i(-1, 2, -2, -1)],
            [_f(1, 3), _i(0, 0, 0, 0)],
            [_f(0, 3), _i(2, 0, 1, 0)],
            [_f(2, 3), _i(-3, 0, 0, 0)],
        ],
    ),
    "pad to a multiple": (
        [
            _NODE("Shape", ["a"], ["s"]),
            _NODE("Mod", ["s", "k"], ["m"]),
            _NODE("Sub", ["k", "m"], ["d"]),
            _NODE("Mod", ["d", "k"], ["w"]),
            _NODE("Concat", ["z", "w"], ["p"], axis=0),
            _NODE("Pad", ["a", "p"], ["y"], mode="edge"),
        ],
        [("a", "float32", ["h", "w"])],
        {"k": _i(4, 4), "z": _i(0, 0)},
        [[_f(4, 5)], [_f(1, 1)], [_f(7, 2)]],
    ),
    "pad by half, reflected": (
        [
            _NODE("Shape", ["a"], ["s"]),
            _NODE("Div", ["s", "k"], ["h"]),
            _NODE("Concat", ["h", "h"], ["p"], axis=0),
            _NODE("Pad", ["a", "p"], ["y"], mode="reflect"),
        ],
        [("a", "float32", ["h"])],
        {"k": _i(2)},
        [[_f(5)], [_f(2)], [_f(1)]],
    ),
    "tile": (
        [_NODE("Tile", ["a", "r"], ["y"])],
        [("a", "float32", ["n", 2]), ("r", "int64", [2])],
        {},
        [
            [_f(3, 2), _i(2, 3)],
            [_f(1, 2), _i(1, 1)],
            [_f(3, 2), _i(0, 1)],
            [_f(0, 2), _i(2, 1)],
            [_f(3, 2), _i(-1, 1)],
        ],
    ),
    "reshape by numbers": (
        [_NODE("Reshape", ["a", "s"], ["y"])],
        [("a", "float32", ["n", 6]), ("s", "int64", [3])],
        {},
        [
            [_f(2, 6), _i(3, 4, 1)],
            [_f(2, 6), _i(0, -1, 2)],
            [_f(2, 6), _i(-1, 0, 1)],
            [_f(2, 6), _i(2, 2, 2)],
            [_f(2, 6), _i(-3, 4, 1)],
            [_f(1, 6), _i(6, 1, 0)],
        ],
    ),
    "range": (
        [
            _NODE("Shape", ["a"], ["s"]),
            _NODE("Squeeze", ["s", "z"], ["q"]),
            _NODE("Range", ["c", "q", "d"], ["y"]),
        ],
        [("a", "float32", ["n"])],
        {"z": _i(0), "c": np.int64(3), "d": np.int64(2)},
        [[_f(7)], [_f(2)], [_f(0)]],
    ),
}


@pytest.mark.parametrize("name", _CASES)
def test_right_or_both_refuse(name):
    nodes, inputs, constants, feeds = _CASES[name]
    outputs = list(nodes[-1].output)
    assert _compare(_model(nodes, inputs, constants, outputs), feeds)


def test_the_error_names_op_and_shapes():
    model = _model(
        [_NODE("MatMul", ["a", "b"], ["y"], name="product")],
        [("a", "float32", [2, "k"]), ("b", "float32", ["m", 2])],
        {},
        ["y"],
    )
    with pytest.raises(byoc.ExecutionError, match=r"'product'.*\[4, 2\], expected \[3, 2\]"):
        byoc.compile(model, vendors=[])(_f(2, 3), _f(4, 2))


def _chain(rng):
    """Operators of two operands, each dimension a name of its own, a 1 or a number."""
    rank, nodes, inputs, constants = int(rng.integers(1, 4)), [], [], {}
    sizes = rng.integers(2, 4, rank)

    def port(number):
        name = f"x{number}"
        dims = [
            [f"{name}_{axis}", 1, int(sizes[axis])][rng.choice(3, p=[0.6, 0.2, 0.2])]
            for axis in range(int(rng.integers(0, rank)), rank)
        ]
        inputs.append((name, "float32", dims))
        return name

    value = port(0)
    for number in range(1, int(rng.integers(2, 5))):
        op = ["Add", "Mul", "Sub", "Where"][rng.integers(4)]
        operands = [value, port(number)]
        if op == "Where":
            nodes.append(_NODE("Greater", [operands[0], operands[1]], [f"c{number}"]))
            operands.insert(0, f"c{number}")
        value = f"y{number}"
        nodes.append(_NODE(op, operands, [value]))
    feeds = []
    for _ in range(8):
        wrong = rng.random() < 0.4
        feeds.append([])
        for _, _, dims in inputs:
            lead = rank - len(dims)
            shape = [
                d if isinstance(d, int)
                else int(rng.integers(0, 4) if wrong else rng.choice([1, sizes[lead + i]]))
                for i, d in enumerate(dims)
            ]  # fmt: skip
            feeds[-1].append(rng.standard_normal(shape).astype(np.float32))
    return _model(nodes, inputs, constants, [value]), feeds


@pytest.mark.parametrize("seed", range(6))
def test_random_operands_broadcast_at_run_time(seed):
    model, feeds = _chain(np.random.default_rng(seed))
    try:
        _compare(model, feeds)
    except byoc.ModelError as error:  # too much is left to the run
        assert "known only at run time" in str(error)
