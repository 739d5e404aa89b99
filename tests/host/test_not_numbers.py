"""NaN, infinities and signed zeros through every kind of host kernel, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from host_runner import Compiled, module
from tvm import relax

import byoc

op = relax.op
NAN, INF = float("nan"), float("inf")
EDGES = [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.3, -2.5, 7.0, 6e4]


def edges(dtype, seed=0, rows=6, length=40):
    """Rows that are all -inf, all NaN, all ∞, without NaN, and others of any edge."""
    rng = np.random.default_rng(seed)
    x = rng.choice(EDGES, (rows, length))
    x[0], x[1], x[2] = -INF, NAN, INF
    x[3] = rng.permutation(length) - 7.5
    return x.astype(dtype)


def run(build, *arrays):
    compiled = Compiled(module(build, *((a.shape, str(a.dtype)) for a in arrays)), threads=1)
    return compiled(*arrays)


def both_ways(function, want, dtype):
    """Two run-time operands, then each of them a constant."""
    a, b = edges(dtype, 1), edges(dtype, 2)
    fixed = lambda v: relax.const(v, dtype)  # noqa: E731
    with np.errstate(all="ignore"):
        yield run(lambda bb, x, y: bb.emit(function(x, y)), a, b), want(a, b)
        yield run(lambda bb, x: bb.emit(function(x, fixed(b))), a), want(a, b)
        for number in (0.0, 1.5, INF, NAN):
            n = np.asarray(number, dtype)
            yield run(lambda bb, x, n=n: bb.emit(function(x, fixed(n))), a), want(a, n)
            yield run(lambda bb, x, n=n: bb.emit(function(fixed(n), x)), a), want(n, a)


DTYPES = pytest.mark.parametrize("dtype", ["float32", "float16"])
BINARY = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "mod": np.fmod,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "greater_equal": np.greater_equal,
}


@DTYPES
@pytest.mark.parametrize("name", BINARY)
def test_binary(name, dtype):
    for found, want in both_ways(getattr(op, name), BINARY[name], dtype):
        np.testing.assert_array_equal(found, want)


UNARY = {
    "relu": (op.nn.relu, lambda x: np.maximum(x, x.dtype.type(0))),
    "clip": (lambda x: op.clip(x, 0, 6), lambda x: np.clip(x, 0, 6)),
    "leaky": (lambda x: op.nn.leakyrelu(x, 0.5), lambda x: np.where(x < 0, x / 2, x)),
    "sign": (op.sign, np.sign),
    "bool": (lambda x: op.astype(x, "bool"), lambda x: x.astype(bool)),
    "isnan": (op.isnan, np.isnan),
    "x - x": (lambda x: op.subtract(x, x), lambda x: x - x),
    "x / x": (lambda x: op.divide(x, x), lambda x: x / x),
    "x == x": (lambda x: op.equal(x, x), lambda x: x == x),
    "x + 2048 - 2048": (
        lambda x: op.subtract(
            op.add(x, relax.const(2048, str(x.ty.dtype))), relax.const(2048, str(x.ty.dtype))
        ),
        lambda x: (x + x.dtype.type(2048)) - x.dtype.type(2048),
    ),
    "not x < 1": (
        lambda x: op.logical_not(op.less(x, relax.const(1, str(x.ty.dtype)))),
        lambda x: ~(x < 1),
    ),
    "not (x < 1 and x >= 0)": (
        lambda x: op.logical_not(
            op.logical_and(
                op.less(x, relax.const(1, str(x.ty.dtype))),
                op.greater_equal(x, relax.const(0, str(x.ty.dtype))),
            )
        ),
        lambda x: ~((x < 1) & (x >= 0)),
    ),
    "relu of a maximum": (
        lambda x: op.nn.relu(op.maximum(x, op.negative(x))),
        lambda x: np.maximum(np.abs(x), x.dtype.type(0)),
    ),
}


@DTYPES
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype):
    function, want = UNARY[name]
    x = edges(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run(lambda b, x: b.emit(function(x)), x), want(x))


REDUCTIONS = {
    "max": np.max,
    "min": np.min,
    "argmax": np.argmax,
    "argmin": np.argmin,
}


@DTYPES
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name, axis, dtype):
    x = edges(dtype, 3)
    found = run(lambda b, x: b.emit(getattr(op, name)(x, axis)), x)
    np.testing.assert_array_equal(found, REDUCTIONS[name](x, axis=axis))


@DTYPES
@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("pad", [0, 1])
def test_max_pool(pad, ceil, dtype):
    rng = np.random.default_rng(4)
    x = np.where(rng.random((1, 3, 8, 8)) < 0.1, NAN, rng.normal(size=(1, 3, 8, 8))).astype(dtype)
    x[0, 0] = -INF
    found = run(
        lambda b, x: b.emit(op.nn.max_pool2d(x, (3, 3), (2, 2), (pad,) * 4, ceil_mode=ceil)),
        x,
    )
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad + 2), (pad, pad + 2)), constant_values=-INF)
    want = [[padded[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2))
             for j in range(found.shape[3])] for i in range(found.shape[2])]  # fmt: skip
    np.testing.assert_array_equal(found[0], np.moveaxis(np.array(want), 2, 0))


@pytest.mark.parametrize("log", [False, True])
def test_softmax_of_nan(log):
    x = edges("float32", 5)
    function = op.nn.log_softmax if log else op.nn.softmax
    found = run(lambda b, x: b.emit(function(x, -1)), x)
    with np.errstate(all="ignore"):
        shift = x - x.max(1, keepdims=True)
        want = np.exp(shift) / np.exp(shift).sum(1, keepdims=True)
        want = np.log(want) if log else want
    np.testing.assert_array_equal(np.isnan(found), np.isnan(want))
    np.testing.assert_allclose(found[3], want[3], rtol=1e-4)


def test_convolution_and_relu():
    x = np.random.default_rng(6).normal(size=(1, 2, 6, 6)).astype("float32")
    x[0, 1, 2, 3] = NAN
    w = relax.const(np.ones((4, 2, 3, 3), "float32"))
    found = run(lambda b, x: b.emit(op.nn.relu(b.emit(op.nn.conv2d(x, w, padding=1)))), x)
    want = np.zeros((6, 6), bool)
    want[1:4, 2:5] = True
    np.testing.assert_array_equal(np.isnan(found[0]), np.broadcast_to(want, (4, 6, 6)))


@pytest.mark.parametrize("value", [NAN, INF, 2.0])
@pytest.mark.parametrize("function", [op.multiply, lambda a, b: op.divide(b, a)])
def test_scalars_by_zero_stay_scalars(function, value):
    builder = relax.BlockBuilder()
    var = relax.Var("x", relax.TensorType((), "float32"))
    with builder.function("main", [var]):
        with builder.dataflow():
            result = builder.emit_output(function(var, relax.const(0, "float32")))
        builder.emit_func_output(result)
    x = np.asarray(value, np.float32)
    found = byoc.compile(builder.get())(x)
    with np.errstate(all="ignore"):
        expected = x * 0 if function is op.multiply else 0 / x
    assert found.shape == ()
    np.testing.assert_array_equal(found, expected)
