"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.tensors import to_numpy, transposed
from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    const,
    scalar_like,
    text_of,
)

__all__ = ["PRODUCTS"]


def gemm(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Gemm 7, 9, 11, 13: transposes and factors go into constants at once."""
    a, b, c = x[0], x[1], x[2]
    alpha, beta = attrs.get("alpha", 1.0), attrs.get("beta", 1.0)
    if attrs.get("transA", 0):
        a = relax.op.permute_dims(a, [1, 0])
    if attrs.get("transB", 0):
        constant = isinstance(b, GenericConst)
        b = const(transposed(to_numpy(b.value), None)) if constant else relax.op.permute_dims(b)
    result = relax.op.matmul(a, b)
    if alpha != 1:
        result = relax.op.multiply(result, scalar_like(alpha, x[0]))
    if c is None or beta == 0:
        return result
    return relax.op.add(result, c if beta == 1 else relax.op.multiply(c, scalar_like(beta, x[0])))


def einsum(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Einsum 12."""
    return relax.op.einsum(list(x), text_of(attrs["equation"], "").replace(" ", ""))


PRODUCTS: Mapping[tuple[str, str], Converter] = {
    ("", "Einsum"): einsum,
    ("", "Gemm"): gemm,
}
"""(domain, operator) → converter."""
