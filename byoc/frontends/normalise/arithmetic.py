"""Additions and multiplications of constants in one form.

c + x, c · x              → x + c, x · c
x - c                     → x + (-c)
(y + c) + d               → y + (c + d)          y = conv(x) or matmul(x), constant weights
(y + c) · d               → y · d + c · d        likewise; y · d goes into the weights
conv(x) + c[C, 1, 1]      → conv(x) + c[1, C, 1, 1]
matmul(x) + c[1, 1, C]    → matmul(x) + c[C]

Floats are no real numbers: ``x + 1.5·2²³ - 1.5·2²³`` rounds x, ``x · 300 · 300`` overflows in
float16. So constants are joined only behind a sum whose own rounding is open, the one inside a
convolution or matrix product, and only while they are small enough to be biases (`fits_bias`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import is_op, tensors
from byoc.segment import Array

__all__ = ["CONVOLUTIONS", "RULES", "combine", "fits_bias"]

CONVOLUTIONS = (
    "nn.conv1d", "nn.conv2d", "nn.conv3d",
    "nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose",
)  # fmt: skip

_SMALL = 1 << 16
"""Constants up to this many elements are combined with each other (biases and scales are)."""


def combine(function: Callable[..., Any], a: Array, b: Array) -> Array:
    """Compute ``function(a, b)`` in float64, or in integers, and round once to the dtype of `a`.

    Args:
        function: A numpy function of two arrays.
        a: First operand; its dtype is the result's.
        b: Second operand.
    """
    if a.dtype.kind != "f":
        return np.asarray(function(a, b)).astype(a.dtype)
    wide = function(a.astype(np.float64), b.astype(np.float64))
    return np.asarray(wide).astype(a.dtype)


def fits_bias(*constants: Array) -> bool:
    """True when adding the constants costs at most half the digits of values around one.

    A larger one rounds what it is added to, and is there to do so (`x + 1.5·2²³` rounds to whole
    numbers).

    Args:
        constants: Floats; each is compared with ``1 / sqrt(eps)`` of its type, 2896 for float32.
    """
    return all(
        bool((np.abs(c.astype(np.float64)) <= float(np.finfo(c.dtype).eps) ** -0.5).all())
        for c in constants
    )


def _weighted(value: Any) -> bool:
    """True for a convolution or matrix product with constant weights, its factor included."""
    while is_op(value, "multiply") and isinstance(tensors(value)[1], Const):
        value = tensors(value)[0]
    return is_op(value, "matmul", *CONVOLUTIONS) and isinstance(tensors(value)[1], Const)


def _constant_last(graph: Graph, node: GraphNode) -> Value | None:
    a, b = tensors(node)
    if not isinstance(a, Const) or isinstance(b, Const):
        return None
    op = getattr(relax.op, node.op)
    return graph.emit(op(b.expr, a.expr))


def _subtract(graph: Graph, node: GraphNode) -> Value | None:
    x, c = tensors(node)
    if not isinstance(c, Const) or isinstance(x, Const) or c.size > _SMALL:
        return None
    if np.dtype(node.dtype).kind not in "fi":
        return None
    return graph.emit(relax.op.add(x.expr, graph.constant(-c.array).expr))


def _again(graph: Graph, node: GraphNode) -> Value | None:
    """(y + c) + d → y + (c + d) behind weights."""
    inner, d = tensors(node)
    if not isinstance(d, Const) or not is_op(inner, "add") or not _alone(inner):
        return None
    x, c = tensors(inner)
    if not isinstance(c, Const) or not _weighted(x) or not _is_float(node.dtype):
        return None
    if x.ndim < max(c.ndim, d.ndim) or max(c.size, d.size) > _SMALL:
        return None
    joined = combine(np.add, c.array, d.array)
    if joined.size > _SMALL or not fits_bias(c.array, d.array):
        return None
    return graph.emit(relax.op.add(x.expr, graph.constant(joined).expr))


def _distribute(graph: Graph, node: GraphNode) -> Value | None:
    """(y + c) · d → y · d + c · d, where y · d goes into weights."""
    inner, d = tensors(node)
    if not isinstance(d, Const) or not is_op(inner, "add") or not _alone(inner):
        return None
    x, c = tensors(inner)
    if not isinstance(c, Const) or not _weighted(x) or not _is_float(node.dtype):
        return None
    if x.graph.only_user(x) is None or max(c.size, d.size) > _SMALL:
        return None
    if x.ndim < max(c.ndim, d.ndim):
        return None
    shift = combine(np.multiply, c.array, d.array)
    if shift.size > _SMALL or not fits_bias(c.array, shift):
        return None
    scaled = graph.emit(relax.op.multiply(x.expr, d.expr), x.name)
    return graph.emit(relax.op.add(scaled.expr, graph.constant(shift).expr), inner.name)


def _bias_form(graph: Graph, node: GraphNode) -> Value | None:
    x, c = tensors(node)
    if not isinstance(c, Const) or c.static_shape is None or c.size == 1:
        return None
    shape = c.static_shape
    if is_op(x, *CONVOLUTIONS) and len(shape) == x.ndim - 1 and c.size == shape[0]:
        wanted: tuple[int, ...] = (1, *shape)
    elif is_op(x, "matmul") and 1 < len(shape) <= x.ndim and c.size == shape[-1]:
        wanted = shape[-1:]
    else:
        return None
    return graph.emit(relax.op.add(x.expr, graph.constant(c.array.reshape(wanted)).expr))


def _is_float(dtype: str) -> bool:
    return np.dtype(dtype).kind == "f"


def _alone(node: GraphNode) -> bool:
    return node.graph.only_user(node) is not None


RULES: Rules = {
    "add": [_constant_last, _bias_form, _again],
    "multiply": [_constant_last, _distribute],
    "maximum": [_constant_last],
    "minimum": [_constant_last],
    "subtract": [_subtract],
}
