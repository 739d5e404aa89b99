"""Functions keep their digits where results are next to nothing, whoever computes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tvm import relax

import byoc

op = relax.op
NEAR_ZERO = np.concatenate([-np.logspace(-8, 1.9, 300), np.logspace(-8, 1.9, 300)])
NEAR_ONE = np.concatenate([1 - np.logspace(-7, -0.1, 200), 1 + np.logspace(-7, 30, 300)])
UP = np.logspace(-8, 8, 300)


def softplus(v):
    return max(v, 0) + math.log1p(math.exp(-abs(v)))


# Name → (op, the function, where it is asked; GELU loses its digits below -4 in every engine).
FUNCTIONS = {
    "asinh": (op.asinh, math.asinh, NEAR_ZERO),
    "atan": (op.atan, math.atan, NEAR_ZERO),
    "erf": (op.erf, math.erf, NEAR_ZERO),
    "exp": (op.exp, math.exp, NEAR_ZERO),
    "log": (op.log, math.log, NEAR_ONE),
    "rsqrt": (op.rsqrt, lambda v: v**-0.5, UP),
    "sigmoid": (op.sigmoid, lambda v: math.exp(v - softplus(v)), NEAR_ZERO),
    "silu": (op.nn.silu, lambda v: v * math.exp(v - softplus(v)), NEAR_ZERO),
    "sin": (op.sin, math.sin, NEAR_ZERO),
    "sinh": (op.sinh, math.sinh, NEAR_ZERO),
    "softplus": (op.nn.softplus, softplus, NEAR_ZERO),
    "softplus of 3x": (lambda x: op.nn.softplus(x, 3.0), lambda v: softplus(3 * v) / 3, NEAR_ZERO),
    "sqrt": (op.sqrt, math.sqrt, UP),
    "tanh": (op.tanh, math.tanh, NEAR_ZERO),
}


def run(function, x, vendors, dtype="float32"):
    bb = relax.BlockBuilder()
    var = relax.Var("x", relax.TensorType(x.shape, dtype))
    with bb.function("main", [var]):
        with bb.dataflow():
            result = bb.emit_output(function(var))
        bb.emit_func_output(result)
    exe = byoc.compile(bb.get(), vendors, min_segment_ops=1, min_segment_flops=0)
    return np.asarray(exe(x.astype(dtype)))


@pytest.mark.parametrize("vendor", ["host", "dnnl", "openvino"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_small_results_are_right_to_a_digit(name, vendor):
    if vendor != "host":
        pytest.importorskip(vendor if vendor == "openvino" else "byoc")
    function, reference, where = FUNCTIONS[name]
    x = where.astype(np.float32)
    found = run(function, x, [] if vendor == "host" else [vendor]).astype(np.float64)
    expected = np.array([reference(float(v)) for v in x])
    normal = (np.abs(expected) > 2e-38) & (np.abs(expected) < 3e38)
    off = np.abs(found - expected)[normal] / np.abs(expected[normal])
    worst = int(off.argmax())
    assert off[worst] < 1e-5, (x[normal][worst], found[normal][worst], expected[normal][worst])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float16", 1e-3)])
def test_softplus_of_other_floats(dtype, tolerance):
    x = np.linspace(-12, 12, 200).astype(dtype)
    found = run(lambda v: op.nn.softplus(v, 1.0, 40.0), x, [], dtype)
    expected = np.array([softplus(float(v)) for v in x])
    np.testing.assert_allclose(found.astype("float64"), expected, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("vendor", ["host", "dnnl", "openvino"])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("length", [4, 67])
def test_a_row_with_nan_is_nan(name, length, vendor):
    """Also of +inf, and of -inf alone; also where the row is multiplied further."""
    x = np.random.default_rng(0).standard_normal((6, length)).astype(np.float32)
    x[1, 2], x[2, 0], x[3], x[4, :2], x[5] = np.nan, np.inf, -np.inf, -np.inf, np.nan
    vendors = [] if vendor == "host" else [vendor]
    nan = np.array([False, True, True, True, False, True])
    for axis in (0, 1):
        found = run(lambda v, a=axis: getattr(op.nn, name)(v, a), x if axis else x.T, vendors)
        found = found if axis else found.T
        np.testing.assert_array_equal(np.isnan(found), np.tile(nan[:, None], length))
    ones = relax.const(np.ones((length, 3), np.float32))
    found = run(lambda v: op.matmul(getattr(op.nn, name)(v, -1), ones), x, vendors)
    np.testing.assert_array_equal(np.isnan(found), np.tile(nan[:, None], 3))


@pytest.mark.parametrize("vendor", ["host", "dnnl", "openvino"])
@pytest.mark.parametrize("name", ["mean", "variance", "std"])
def test_the_mean_of_nothing_is_nan(name, vendor):
    vendors, x = [] if vendor == "host" else [vendor], np.ones((3, 0), np.float32)
    for axis in (1, None):
        found = run(lambda v, a=axis: getattr(op, name)(v, a), x, vendors)
        assert np.isnan(found).all() and found.shape == ((3,) if axis else ())
    assert run(lambda v: getattr(op, name)(v, 0), x, vendors).shape == (0,)
