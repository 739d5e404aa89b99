"""What TVM 0.14 leaves unsaid in a text: defaults, types, precedence, scopes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import byoc
from byoc.frontends import import_model
from byoc.frontends.relay.ops.table import OPERATORS

HEAD = '#[version = "0.0.5"]\n'

# What TVM's printer leaves out because it is the default of the C++ attributes (TVM 0.14).
DEFAULTS = {
    "nn.batch_norm": {"axis": 1, "epsilon": 1e-5, "center": True, "scale": True},
    "nn.bias_add": {"axis": 1},
    "nn.dropout": {"rate": 0.5},
    "nn.fast_softmax": {"axis": -1},
    "nn.group_norm": {"axis": 1, "epsilon": 1e-5, "center": True, "scale": True},
    "nn.instance_norm": {"axis": 1, "epsilon": 1e-5, "center": True, "scale": True},
    "nn.layer_norm": {"axis": -1, "epsilon": 1e-5, "center": True, "scale": True},
    "nn.leaky_relu": {"alpha": 0.25},
    "nn.log_softmax": {"axis": -1},
    "nn.lrn": {"size": 5, "axis": 1, "bias": 2.0, "alpha": 1e-4, "beta": 0.75},
    "nn.matmul": {"transpose_a": False, "transpose_b": False},
    "nn.mirror_pad": {"mode": "SYMMETRIC"},
    "nn.pad": {"pad_mode": "constant"},
    "nn.prelu": {"axis": 1},
    "nn.softmax": {"axis": -1},
    "nn.upsampling": {"layout": "NCHW", "method": "nearest_neighbor", "align_corners": False},
    "nn.upsampling3d": {"layout": "NCDHW", "method": "nearest_neighbor",
                        "coordinate_transformation_mode": "half_pixel"},
    "argsort": {"axis": -1, "is_ascend": True},
    "image.resize2d": {"layout": "NCHW", "method": "linear", "cubic_alpha": -0.5,
                       "coordinate_transformation_mode": "half_pixel", "cubic_exclude": 0},
    "strided_slice": {"slice_mode": "end"},
    "take": {"mode": "clip", "batch_dims": 0},
    "topk": {"axis": -1, "is_ascend": False, "ret_type": "both"},
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_are_those_that_the_printer_leaves_out(name):
    found = inspect.signature(OPERATORS[name]).parameters
    assert {key: found[key].default for key in DEFAULTS[name]} == DEFAULTS[name]


def answer(tools, text, *arrays):
    return tools.run(import_model(HEAD + text).mod, *arrays)


@pytest.mark.parametrize(
    "rows, columns, said, transposed",
    [
        (3, 4, "", False),  # TVM 0.8 and later: a plain product prints nothing
        (5, 3, "", True),  # TVM 0.7: no such attribute, the second factor is transposed
        (3, 3, "", False),
        (3, 3, ", transpose_b=True", True),
        (3, 3, ", transpose_b=False", False),
    ],
)
def test_second_factor_of_batch_matmul(tools, rows, columns, said, transposed):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((1, *s)).astype("f4") for s in ((2, 3), (rows, columns)))
    text = (
        f"def @main(%a: Tensor[(1, 2, 3), float32], %b: Tensor[(1, {rows}, {columns}), float32])"
        f" {{ nn.batch_matmul(%a, %b{said}) }}"
    )
    tools.close(answer(tools, text, a, b), [a @ (b.swapaxes(1, 2) if transposed else b)])


@pytest.mark.parametrize(
    "dtype, literal, value",
    [
        ("int64", "100000 /* ty=int64 */", 100000),
        ("int64", "3000000000 /* ty=int64 span=from_string:1:1 */", 3000000000),
        ("int8", "7 /*ty=int8*/", 7),
        ("float16", "0.5 /* ty=float16 */", 0.5),
        ("float64", "2 /* ty=float64 */", 2),
        ("int32", "3", 3),
        ("int64", "3i64 /* ty=int64 */", 3),
        ("float32", "2f /* a note */", 2),
    ],
)
def test_literals_have_the_type_of_their_comment(tools, dtype, literal, value):
    x = np.array([1, 100000 if dtype == "int64" else 2], dtype)
    text = f"def @main(%x: Tensor[(2), {dtype}]) {{ multiply(%x, {literal}) }}"
    tools.close(answer(tools, text, x), [x * np.array(value, dtype)])


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("%a + %b * %a", lambda a, b: a + b * a),
        ("%a - %b - %a", lambda a, b: a - b - a),
        ("%a / %b / %a", lambda a, b: a / b / a),
        ("%a < %b + %a", lambda a, b: a < b + a),
        ("%a < %b == %b < %a", lambda a, b: (a < b) == (b < a)),
        ("%a < %b != %b >= %a", lambda a, b: (a < b) != (b >= a)),
        ("(%a == %b) == %a < %b", lambda a, b: (a == b) == (a < b)),
    ],
)
def test_precedence(tools, expression, expected):
    a, b = np.array([1, 2, 3], "f4"), np.array([3, 2, 1], "f4")
    params = "%a: Tensor[(3), float32], %b: Tensor[(3), float32]"
    run = byoc.compile(f"{HEAD}def @main({params}) {{ {expression} }}", vendors=[])
    tools.close([np.asarray(run(a, b))], [expected(a, b)])


@pytest.mark.parametrize(
    "body, factor",
    [
        ("let %k = 2f; let %f = fn (%y) { multiply(%y, %k) }; let %k = 5f; %f(%x)", 2),
        ("let %k = 2f; let %f = fn (%y) { multiply(%y, %k) }; let %k = 5f; %f(multiply(%x, %k))",
         10),
        ("let %k = 2f; let %f = (let %h = fn (%y) { multiply(%y, %k) }; %h); let %k = 5f; %f(%x)",
         2),
        ("let %f = fn (%y) { multiply(%y, 2f) }; let %f = fn (%y) { multiply(%y, 3f) }; %f(%x)", 3),
        ("let %k = 2f; let %k = multiply(%k, 3f); let %k = multiply(%k, 3f); multiply(%x, %k)", 18),
        ("let %k = 2f; let %f = fn (%y) { let %k = 7f; multiply(%y, %k) }; "
         "let %z = %f(%x); multiply(%z, %k)", 14),
    ],
)  # fmt: skip
def test_a_function_sees_the_values_before_it(tools, body, factor):
    x = np.array([1, 2], "f4")
    text = f"def @main(%x: Tensor[(2), float32]) {{ {body} }}"
    tools.close(answer(tools, text, x), [x * np.float32(factor)])


@pytest.mark.parametrize(
    "call, expected",
    [
        ("nn.avg_pool2d(%x, pool_size=[2, 2], strides=[2, 2])", [[-1, 3]]),
        ("nn.global_avg_pool2d(%x)", [[0]]),
        ("nn.adaptive_avg_pool2d(%x, output_size=[1, 2])", [[-1, 3]]),
        ("mean(%x, axis=[2, 3], keepdims=True)", [[0]]),
    ],
)
def test_averages_of_whole_numbers_are_cut(tools, call, expected):
    x = np.array([[[[-1, -2, 3, 3], [-3, -1, 3, 4]]]], "i4")
    text = f"def @main(%x: Tensor[(1, 1, 2, 4), int32]) {{ {call} }}"
    tools.close(answer(tools, text, x), [np.array([[expected]], "i4")])
