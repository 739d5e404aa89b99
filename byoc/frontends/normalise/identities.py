"""Ops that do nothing, or nothing together with their producer.

reshape, broadcast_to, … to the same type    x → x
x + 0, x - 0, x · 1, x / 1, x ** 1           → x
dropout(x)                                   → x
relu(relu(x)), clip(clip(x)), clip(relu(x))  → one relu or clip
max(x, 0), min(max(x, a), b)                 → relu(x), clip(x, a, b)
x ** 2, x ** 3, x ** 0.5, x ** -0.5          → square(x), x · square(x), sqrt(x), rsqrt(x)
concat([x])                                  → x
cast(cast(x, wider), type of x)              → x
x ≠ x; x = x, x ≤ x, x ≥ x of floats         → isnan(x); ¬ isnan(x)
sum / max / min / mean(stack([x, y, …]))     → x + y + …
mean, variance, std of no numbers            → NaN
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Arg, Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import is_op, number, tensors
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]


def _same_type(a: Value, b: Value) -> bool:
    return same_dims(a.shape, b.shape) and a.dtype == b.dtype


def _no_change(graph: Graph, node: GraphNode) -> Value | None:
    x = node.args[0]
    return x if isinstance(x, Value) and _same_type(x, node) else None


def _whole_slice(graph: Graph, node: GraphNode) -> Value | None:
    """Every element in order: the same type and only steps forward."""
    forward = len(node.args) < 5 or all(s == 1 for s in node.leaf(4))
    return _no_change(graph, node) if forward else None


def _no_pad(graph: Graph, node: GraphNode) -> Value | None:
    return None if any(int(w) for w in node.attrs.pad_width) else _no_change(graph, node)


def _neutral(neutral: float, both_sides: bool) -> Any:
    def rule(graph: Graph, node: GraphNode) -> Value | None:
        a: Value
        b: Value
        a, b = tensors(node)
        if number(b) == neutral and _same_type(a, node):
            return a
        if both_sides and number(a) == neutral and _same_type(b, node):
            return b
        return None

    return rule


def _dropout(graph: Graph, node: GraphNode) -> Value | None:
    source = node.args[0]
    if node.call.index == 0 and is_op(source, "nn.dropout"):
        x = source.args[0]
        return x if isinstance(x, Value) else None
    return None


def _dropout_alone(graph: Graph, node: GraphNode) -> Value | None:
    return _no_change(graph, node)


def _range(value: Any) -> tuple[Value, float, float] | None:
    """(x, low, high) of a value that is a clip in any spelling."""
    if is_op(value, "nn.relu"):
        return value.args[0], 0.0, math.inf
    if is_op(value, "clip"):
        low, high = value.leaf(1), value.leaf(2)
        if isinstance(low, (int, float)) and isinstance(high, (int, float)):
            return value.args[0], float(low), float(high)
        return None
    if is_op(value, "maximum", "minimum"):
        for x, bound in (tensors(value), tensors(value)[::-1]):
            limit = number(bound)
            if limit is not None and not math.isnan(limit) and _same_type(x, value):
                limits = (limit, math.inf) if value.op == "maximum" else (-math.inf, limit)
                return x, *limits
    return None


def _clips(graph: Graph, node: GraphNode) -> Value | None:
    """One clip for nested ones; max(x, 0) is a relu."""
    outer = _range(node)
    if outer is None or np.dtype(node.dtype).kind != "f":
        return None
    x, low, high = outer
    inner = _range(x)
    if inner is not None:
        x, low, high = inner[0], *(min(max(v, low), high) for v in inner[1:])
    elif node.op in ("clip", "nn.relu") and (low, high) != (0.0, math.inf):
        return x if (low, high) == (-math.inf, math.inf) else None
    if (low, high) == (-math.inf, math.inf):
        return x
    if (low, high) == (0.0, math.inf):
        return (
            None if node.op == "nn.relu" and inner is None else graph.emit(relax.op.nn.relu(x.expr))
        )
    if inner is None and node.op in ("maximum", "minimum"):
        return None  # one-sided: as short as it gets, and exact for any bound
    return graph.emit(relax.op.clip(x.expr, low, high))


def _powers(graph: Graph, node: GraphNode) -> Value | None:
    x: Value
    x, exponent = tensors(node)
    n = number(exponent)
    if n is None or not _same_type(x, node) or np.dtype(node.dtype).kind != "f":
        return None
    if n == 1:
        return x
    if n == 2:
        return graph.emit(relax.op.square(x.expr))
    if n == 3:
        return graph.emit(relax.op.multiply(relax.op.square(x.expr), x.expr))
    if n == 0.5:
        return graph.emit(relax.op.sqrt(x.expr))
    if n == -0.5:
        return graph.emit(relax.op.rsqrt(x.expr))
    return None


def _one_part(graph: Graph, node: GraphNode) -> Value | None:
    parts = node.args[0]
    if isinstance(parts, tuple) and len(parts) == 1 and isinstance(parts[0], Value):
        return parts[0]
    return None


def _casts(graph: Graph, node: GraphNode) -> Value | None:
    inner = node.args[0]
    if not is_op(inner, "astype"):
        return None
    x: Value = inner.args[0]
    if x.dtype != node.dtype:
        return None
    return x if np.can_cast(x.dtype, inner.dtype, "safe") else None


def _stacked(graph: Graph, node: GraphNode) -> Value | None:
    stack = node.args[0]
    axis = node.attrs.axis
    if not is_op(stack, "stack") or axis is None or node.attrs.keepdims:
        return None
    along = 0 if stack.attrs.axis is None else int(stack.attrs.axis)
    axes = [int(a) for a in axis]
    parts = stack.args[0]
    if axes != [along] or not isinstance(parts, tuple):
        return None
    values = [p.expr for p in parts if isinstance(p, Value)]
    join = {"max": relax.op.maximum, "min": relax.op.minimum}.get(node.op, relax.op.add)
    total = reduce(join, values)
    if node.op == "mean":
        total = relax.op.divide(total, relax.const(len(values), node.dtype))
    return graph.emit(total)


def _constant_choice(graph: Graph, node: GraphNode) -> Arg | None:
    """where(true, a, b) → a, when nothing is broadcast."""
    condition, a, b = node.args
    if not isinstance(condition, Const) or condition.size > 1 << 20:
        return None
    chosen = a if condition.array.all() else b if not condition.array.any() else None
    return chosen if isinstance(chosen, Value) and _same_type(chosen, node) else None


def _with_itself(graph: Graph, node: GraphNode) -> Value | None:
    """How exporters ask for NaN. TVM's simplifier takes x ≠ x for false, of floats, too."""
    a: Value
    b: Value
    a, b = tensors(node)
    if a is not b or "float" not in a.dtype:
        return None
    unknown = relax.op.isnan(a.expr)
    return graph.emit(unknown if node.op == "not_equal" else relax.op.logical_not(unknown))


def _of_nothing(graph: Graph, node: GraphNode) -> Value | None:
    """0 / 0, which engines answer each in its own way."""
    x = node.args[0]
    if not isinstance(x, Value) or 0 not in (x.static_shape or ()) or node.static_shape is None:
        return None
    return graph.constant(np.full(node.static_shape, np.nan).astype(node.dtype))


RULES: Rules = {
    "reshape": [_no_change],
    "flatten": [_no_change],
    "nn.batch_flatten": [_no_change],
    "expand_dims": [_no_change],
    "squeeze": [_no_change],
    "broadcast_to": [_no_change],
    "astype": [_no_change, _casts],
    "tile": [_no_change],
    "strided_slice": [_whole_slice],
    "nn.pad": [_no_pad],
    "nn.dropout": [_dropout_alone],
    "get": [_dropout],
    "add": [_neutral(0, True)],
    "subtract": [_neutral(0, False)],
    "multiply": [_neutral(1, True)],
    "divide": [_neutral(1, False)],
    "power": [_powers],
    "nn.relu": [_clips],
    "clip": [_clips],
    "maximum": [_clips],
    "minimum": [_clips],
    "concat": [_one_part],
    "sum": [_stacked],
    "max": [_stacked],
    "min": [_stacked],
    "mean": [_of_nothing, _stacked],
    "std": [_of_nothing],
    "variance": [_of_nothing],
    "where": [_constant_choice],
    "equal": [_with_itself],
    "not_equal": [_with_itself],
    "less_equal": [_with_itself],
    "greater_equal": [_with_itself],
}
