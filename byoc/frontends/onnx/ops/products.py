"""Products of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, scalar_like
from byoc.frontends.normalise.tensors import transposed
from byoc.frontends.onnx.context import OnnxContext
from byoc.frontends.onnx.ops.helpers import text_of
from byoc.ir.arrays import to_numpy

__all__ = ["PRODUCTS"]


def gemm(c: OnnxContext) -> Any:
    """Gemm 7, 9, 11, 13: transposes and factors go into constants at once."""
    a, b, bias = c[0], c[1], c[2]
    alpha, beta = c.attrs.get("alpha", 1.0), c.attrs.get("beta", 1.0)
    if c.attrs.get("transA", 0):
        a = relax.op.permute_dims(a, [1, 0])
    if c.attrs.get("transB", 0):
        constant = isinstance(b, GenericConst)
        b = const(transposed(to_numpy(b.value), None)) if constant else relax.op.permute_dims(b)
    result = relax.op.matmul(a, b)
    if alpha != 1:
        result = relax.op.multiply(result, scalar_like(alpha, c[0]))
    if bias is None or beta == 0:
        return result
    if beta != 1:
        bias = relax.op.multiply(bias, scalar_like(beta, c[0]))
    return relax.op.add(result, bias)


def einsum(c: OnnxContext) -> Any:
    """Einsum 12."""
    return relax.op.einsum(list(c.inputs), text_of(c.attrs["equation"], "").replace(" ", ""))


PRODUCTS: Mapping[tuple[str, str], Converter] = {
    ("", "Einsum"): einsum,
    ("", "Gemm"): gemm,
}
"""(domain, operator) → converter."""
