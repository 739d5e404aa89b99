"""Functions as arithmetic: as exact as they say, over the whole range."""

import math
import re

import numpy as np
import pytest
import tvm
from tvm import te, tirx

from byoc.tir.fast_math import vectorizable
from byoc.tir.series import horner

CALL = re.compile(r"T\.(exp|log|tanh|erf|sigmoid)\(")  # of libm


def run(expression, values):
    """``expression(x)`` of each value, compiled as it is and with calls spelled out."""
    x = te.placeholder(values.shape, str(values.dtype), name="x")
    y = te.compute(values.shape, lambda i: expression(x(i)), name="y")
    func = te.create_prim_func([x, y])
    spelled = vectorizable(func)
    assert values.dtype != np.float32 or not CALL.search(str(spelled))
    main = tvm.IRModule({"main": spelled.with_attr("global_symbol", "main")})
    library = tvm.compile(main, target="llvm")
    given, out = (tvm.runtime.tensor(a) for a in (values, np.zeros_like(values)))
    library["main"](given, out)
    return out.numpy()


@pytest.mark.parametrize(
    ("name", "function", "low", "high", "error"),
    [
        ("exp", math.exp, -87, 88, 3e-7),
        ("log", math.log, 1e-38, 3e38, 2e-7),
        ("tanh", math.tanh, -20, 20, 2e-6),
        ("erf", math.erf, -6, 6, 2e-6),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x)), -80, 80, 1e-6),
    ],
)
def test_relative_error(name, function, low, high, error):
    values = np.linspace(low, high, 4001, dtype=np.float32)
    if name == "log":
        values = np.geomspace(low, high, 4001).astype(np.float32)
    found = run(getattr(tirx, name), values)
    expected = np.array([function(float(v)) for v in values])
    scale = np.maximum(np.abs(expected), 1e-30)
    near_one = name == "log"
    tolerance = error * (np.maximum(scale, 1) if near_one else scale)
    assert (np.abs(found - expected) <= tolerance).all()


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("exp", np.inf, np.inf), ("exp", -np.inf, 0), ("exp", 1000, np.inf), ("exp", -1000, 0),
        ("log", 0, -np.inf), ("log", -1, np.nan), ("log", np.inf, np.inf), ("log", 1e-45, None),
        ("tanh", np.inf, 1), ("tanh", -np.inf, -1), ("erf", np.inf, 1), ("erf", -np.inf, -1),
        ("exp", np.nan, np.nan), ("log", np.nan, np.nan), ("tanh", np.nan, np.nan),
        ("erf", np.nan, np.nan), ("sigmoid", -np.inf, 0), ("sigmoid", np.inf, 1),
    ],
)  # fmt: skip
def test_the_ends_of_the_range(name, at, value):
    wanted = math.log(float(np.float32(at))) if value is None else value
    found = run(getattr(tirx, name), np.full(8, at, np.float32))
    np.testing.assert_allclose(found, np.full(8, wanted, np.float32), rtol=1e-6)


def test_a_polynomial():
    values = np.linspace(-2, 2, 64)
    found = run(lambda x: horner(x, [1.0, -0.5, 0.0, 2.0]), values)
    np.testing.assert_allclose(found, 1 - 0.5 * values + 2 * values**3, rtol=1e-14)
    assert run(lambda x: horner(x, [3.0]) + x * 0, values)[0] == 3
