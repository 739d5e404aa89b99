"""Polynomials as expressions of TIR: what approximations of functions are made of.

In: an expression and coefficients. Out: an expression of multiply-adds, which LLVM turns into
vectors. `byoc.tir.fast_math` and `byoc.host.legalize.hyperbolic` both build on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

__all__ = ["horner"]


def horner(x: Any, coefficients: Sequence[float]) -> Any:
    """Build ``c[0] + c[1] x + c[2] x² + …`` in Horner's form, in the dtype of `x`.

    Args:
        x: An expression. It occurs once for each coefficient but the first: bind a long one to a
            name before.
        coefficients: From the constant term upwards; at least one.

    """
    dtype = str(x.ty.dtype)
    total = tirx.const(coefficients[-1], dtype)
    for c in reversed(coefficients[:-1]):
        total = total * x + tirx.const(c, dtype)
    return total
