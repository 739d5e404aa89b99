"""Functions without an LLVM intrinsic: accurate to float32 everywhere, also near zero."""

from __future__ import annotations

import numpy as np
import pytest
from tvm import relax

import byoc

SMALL = np.float32([0.0, 1e-20, -1e-7, 1e-3, -0.019, 0.021, 0.29, -0.31])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sinh", np.float32([1, -5, 20])),
        ("cosh", np.float32([1, -5, 20])),
        ("asinh", np.float32([1, -5, 2000])),
        ("acosh", np.float32([1.0, 1.5, 7, 1e6])),
        ("atanh", np.float32([0.5, -0.99])),
    ],
)
def test_spelled_out_functions(name, values):
    x = values if name == "acosh" else np.concatenate([SMALL, values])
    bb = relax.BlockBuilder()
    var = relax.Var("x", relax.TensorType(x.shape, "float32"))
    with bb.function("main", [var]):
        with bb.dataflow():
            out = bb.emit_output(getattr(relax.op, name)(var))
        bb.emit_func_output(out)
    expected = getattr(
        np, {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}.get(name, name)
    )
    result = byoc.compile(bb.get(), [])(x)
    np.testing.assert_allclose(result, expected(x.astype("float64")), rtol=3e-6, atol=0)
