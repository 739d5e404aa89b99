"""Ops of types that LLVM has no code for."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc


def run(op, *inputs):
    bb = relax.BlockBuilder()
    names = "ab"[: len(inputs)]
    given = [
        relax.Var(n, relax.TensorType(x.shape, str(x.dtype)))
        for n, x in zip(names, inputs, strict=True)
    ]
    with bb.function("main", given):
        with bb.dataflow():
            out = bb.emit_output(getattr(relax.op, op)(*given))
        bb.emit_func_output(out)
    return byoc.compile(bb.get(), [])(*inputs)


@pytest.mark.parametrize("op", ["acos", "asin", "atan"])
def test_trigonometry_of_halves(op):
    x = np.linspace(-1, 1, 9).astype(np.float16)
    expected = getattr(np, f"arc{op[1:]}")(x.astype(np.float32)).astype(np.float16)
    found = run(op, x)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize(
    "op",
    ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "maximum", "minimum"],
)
def test_comparisons_of_booleans(op):
    a = np.array([False, False, True, True, False])
    b = np.array([False, True, False, True, False])
    found = run(op, a, b)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, getattr(np, op)(a, b))
