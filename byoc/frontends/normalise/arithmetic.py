"""Additions and multiplications of constants in one form.

c + x, c · x              → x + c, x · c
x - c                     → x + (-c)
(x + c) + d, (x · c) · d  → x + (c + d), x · (c · d)
(x + c) · d               → x · d + c · d        where x · d has somewhere to go
conv(x) + c[C, 1, 1]      → conv(x) + c[1, C, 1, 1]
matmul(x) + c[1, 1, C]    → matmul(x) + c[C]
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

__all__ = ["CONVOLUTIONS", "RULES", "combine"]

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
    """(x ∘ c) ∘ d → x ∘ (c ∘ d)."""
    inner, d = tensors(node)
    if not isinstance(d, Const) or not is_op(inner, node.op) or not _alone(inner):
        return None
    x, c = tensors(inner)
    if not isinstance(c, Const) or isinstance(x, Const) or np.dtype(node.dtype).kind != "f":
        return None
    if x.ndim < max(c.ndim, d.ndim) or max(c.size, d.size) > _SMALL:
        return None
    joined = combine(np.add if node.op == "add" else np.multiply, c.array, d.array)
    if joined.size > _SMALL:
        return None
    op = getattr(relax.op, node.op)
    return graph.emit(op(x.expr, graph.constant(joined).expr))


def _distribute(graph: Graph, node: GraphNode) -> Value | None:
    """(x + c) · d → x · d + c · d, where x · d joins another factor or goes into weights."""
    inner, d = tensors(node)
    if not isinstance(d, Const) or not is_op(inner, "add") or not _alone(inner):
        return None
    x, c = tensors(inner)
    if not isinstance(c, Const) or np.dtype(node.dtype).kind != "f" or not isinstance(x, GraphNode):
        return None
    if x.graph.only_user(x) is None or max(c.size, d.size) > _SMALL:
        return None
    factor = is_op(x, "multiply") and isinstance(tensors(x)[1], Const)
    weighted = is_op(x, "matmul", *CONVOLUTIONS) and isinstance(tensors(x)[1], Const)
    if not (factor or weighted) or x.ndim < max(c.ndim, d.ndim):
        return None
    shift = combine(np.multiply, c.array, d.array)
    if shift.size > _SMALL:
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


def _alone(node: GraphNode) -> bool:
    return node.graph.only_user(node) is not None


RULES: Rules = {
    "add": [_constant_last, _bias_form, _again],
    "multiply": [_constant_last, _again, _distribute],
    "maximum": [_constant_last],
    "minimum": [_constant_last],
    "subtract": [_subtract],
}
