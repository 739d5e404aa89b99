"""Reductions of nothing give their start value, of fixed and of run-time length."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax, tirx

import byoc

STARTS = {"sum": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("kept", [1, 3, 16])
@pytest.mark.parametrize("fixed", [True, False])
def test_reductions_of_nothing(fixed, kept, dtype):
    length = 0 if fixed else tirx.Var("n", "int64")
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((length, kept), dtype))
    with bb.function("main", [x]):
        with bb.dataflow():
            down = [bb.emit(getattr(relax.op, name)(x, axis=0)) for name in STARTS]
            full = [bb.emit(getattr(relax.op, name)(x)) for name in STARTS]
            out = bb.emit_output(relax.Tuple([*down, *full]))
        bb.emit_func_output(out)
    program = byoc.compile(bb.get(), [])
    for results in (program(np.ones((0, kept), dtype)) for _ in range(3)):
        for found, start in zip(results, [*STARTS.values()] * 2, strict=True):
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, np.full(found.shape, start, dtype))
    if not fixed:
        results = program(np.full((5, kept), 2, dtype))
        np.testing.assert_array_equal(results[0], np.full(kept, 10, dtype))


def test_a_product_over_nothing_is_zero():
    n = tirx.Var("n", "int64")
    bb = relax.BlockBuilder()
    a = relax.Var("a", relax.TensorType((2, n), "float32"))
    b = relax.Var("b", relax.TensorType((n, 5), "float32"))
    with bb.function("main", [a, b]):
        with bb.dataflow():
            out = bb.emit_output(relax.op.matmul(a, b))
        bb.emit_func_output(out)
    program = byoc.compile(bb.get(), [])
    result = program(np.ones((2, 0), np.float32), np.ones((0, 5), np.float32))
    np.testing.assert_array_equal(result, np.zeros((2, 5), np.float32))
