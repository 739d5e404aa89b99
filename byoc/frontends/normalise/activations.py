"""Activations that exporters spell out, as one op.

    x · (½ + ½ erf(x / √2))                         → nn.gelu(x)
    x · (½ + ½ tanh(√(2/π) (x + 0.044715 x³)))      → nn.gelu_tanh(x)
    x · sigmoid(x)                                  → nn.silu(x)
    1 / (1 + exp(-x))                               → sigmoid(x)
    exp(x [- max(x)]) / sum(exp(x [- max(x)]))      → nn.softmax(x)
    max(x, a x), where(x > 0, x, a x), 0 < a < 1    → nn.leakyrelu(x, a)
    clip(x + 3, 0, 6) / 6 and the like              → clip(x · a + b, 0, 1)   (hard sigmoid)
    tanh(log(1 + exp(x)))  (of Mish)                → n / (n + 2), n = exp(x) (exp(x) + 2)

in any order and grouping of the factors: products are compared as sets, sums as polynomials.

Sources: Hendrycks and Gimpel 2016 (GELU), Ramachandran et al. 2017 (SiLU), Howard et al. 2019
(hard swish, which is multiply(x, hard sigmoid)).
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Graph, GraphNode, Value
from byoc.frontends.normalise.match import (
    affine,
    close,
    factors,
    is_op,
    number,
    polynomial,
    tensors,
)
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]

_ERF = {1: 1 / sqrt(2)}
_TANH = {1: sqrt(2 / pi), 3: sqrt(2 / pi) * 0.044715}


def _is_polynomial(value: Value, x: Value, wanted: dict[int, float]) -> bool:
    found = polynomial(value, x)
    if found is None:
        return False
    return all(close(found.pop(k, 0.0), c) for k, c in wanted.items()) and not any(found.values())


def _gelu(graph: Graph, node: GraphNode) -> Value | None:
    """½ x (1 + erf …) for every order of the factors."""
    scale, parts = factors(node)
    if len(parts) != 2:
        return None
    for x, gate in (parts, parts[::-1]):
        a, curve, b = affine(gate)
        if not is_op(curve, "erf", "tanh") or not (close(a * scale, 0.5) and close(b * scale, 0.5)):
            continue
        if not same_dims(x.shape, node.shape) or x.dtype != node.dtype:
            continue
        inner = curve.args[0]
        if curve.op == "erf" and _is_polynomial(inner, x, _ERF):
            return graph.emit(relax.op.nn.gelu(x.expr))
        if curve.op == "tanh" and _is_polynomial(inner, x, _TANH):
            return graph.emit(relax.op.nn.gelu_tanh(x.expr))
    return None


def _silu(graph: Graph, node: GraphNode) -> Value | None:
    for x, gate in (tensors(node), tensors(node)[::-1]):
        if is_op(gate, "sigmoid") and gate.args[0] is x:
            return graph.emit(relax.op.nn.silu(x.expr))
    return None


def _sigmoid(graph: Graph, node: GraphNode) -> Value | None:
    """c / (1 + exp(-x)), the c kept as a factor."""
    above, below = tensors(node)
    a, curve, b = affine(below)
    if not is_op(curve, "exp") or a != 1 or b != 1:
        return None
    slope, x, shift = affine(curve.args[0])
    if x is None or slope != -1 or shift != 0 or not same_dims(x.shape, node.shape):
        return None
    result = relax.op.sigmoid(x.expr)
    if number(above) != 1:
        result = relax.op.multiply(above.expr, result)
    return graph.emit(result)


def _softplus(value: Value) -> Value | None:
    """x for softplus(x), log(1 + exp(x)) or relu(x) + log(1 + exp(-|x|))."""
    if is_op(value, "nn.softplus") and value.attrs.beta == 1 and value.attrs.threshold >= 20:
        found = value.args[0]
        return found if isinstance(found, Value) else None
    if is_op(value, "log"):
        a, curve, b = affine(value.args[0])
        inner = curve.args[0] if is_op(curve, "exp") and a == b == 1 else None
        return inner if isinstance(inner, Value) else None
    if not is_op(value, "add"):
        return None
    for high, rest in (tensors(value), tensors(value)[::-1]):
        inner = _softplus(rest) if is_op(rest, "log") else None
        if inner is None or not is_op(high, "nn.relu"):
            continue
        scale, size, shift = affine(inner)
        if is_op(size, "abs") and (scale, shift) == (-1, 0) and size.args[0] is high.args[0]:
            found = size.args[0]
            return found if isinstance(found, Value) else None
    return None


def _mish_gate(graph: Graph, node: GraphNode) -> Value | None:
    """One exponential instead of two and a logarithm, and exact where exp(x) is tiny."""
    x = _softplus(node.args[0])
    if x is None or x.dtype not in ("float16", "float32", "float64") or x.dtype != node.dtype:
        return None
    largest = 5.0 if x.dtype == "float16" else 20.0  # beyond it the result rounds to 1
    power = relax.op.exp(relax.op.minimum(x.expr, relax.const(largest, x.dtype)))
    two = relax.const(2, x.dtype)
    base = graph.emit(power)
    n = graph.emit(relax.op.multiply(base.expr, relax.op.add(base.expr, two)))
    return graph.emit(relax.op.divide(n.expr, relax.op.add(n.expr, two)))


def _softmax(graph: Graph, node: GraphNode) -> Value | None:
    above, below = tensors(node)
    if not is_op(above, "exp") or not is_op(below, "sum") or below.args[0] is not above:
        return None
    axis = below.attrs.axis
    if axis is None or len(axis) != 1 or not below.attrs.keepdims:
        return None
    x = above.args[0]
    if is_op(x, "subtract"):
        data, highest = tensors(x)
        if is_op(highest, "max") and highest.args[0] is data:
            over = highest.attrs.axis
            if over is not None and [int(a) % node.ndim for a in over] == [
                int(a) % node.ndim for a in axis
            ]:
                x = data
    return graph.emit(relax.op.nn.softmax(x.expr, int(axis[0])))


def _slope(value: Value, x: Value) -> float | None:
    """a for a · x."""
    scale, parts = factors(value)
    return scale if parts == [x] and 0 < scale < 1 else None


def _leaky(graph: Graph, node: GraphNode) -> Value | None:
    """max(x, a x)."""
    for x, scaled in (tensors(node), tensors(node)[::-1]):
        slope = _slope(scaled, x)
        if slope is not None:
            return graph.emit(relax.op.nn.leakyrelu(x.expr, slope))
    return None


def _leaky_choice(graph: Graph, node: GraphNode) -> Value | None:
    """where(x > 0, x, a x), where(x < 0, a x, x)."""
    condition, a, b = node.args
    if not is_op(condition, "greater", "greater_equal", "less", "less_equal"):
        return None
    x, zero = tensors(condition)
    positive, negative = (a, b) if condition.op.startswith("greater") else (b, a)
    if number(zero) != 0 or positive is not x or not isinstance(negative, Value):
        return None
    slope = _slope(negative, x)
    return None if slope is None else graph.emit(relax.op.nn.leakyrelu(x.expr, slope))


def _hard_sigmoid(graph: Graph, node: GraphNode) -> Value | None:
    """clip(a x + b, 0, h) / h → clip((a/h) x + b/h, 0, 1)."""
    scale, parts = factors(node)
    if len(parts) != 1 or not is_op(parts[0], "clip") or np.dtype(node.dtype).kind != "f":
        return None
    gate = parts[0]
    low, high = gate.leaf(1), gate.leaf(2)
    if low != 0 or not isinstance(high, (int, float)) or not close(high * scale, 1.0):
        return None
    a, x, b = affine(gate.args[0])
    if x is None or b == 0 or not same_dims(x.shape, node.shape):
        return None
    slope = relax.const(a * scale, node.dtype)
    shift = relax.const(b * scale, node.dtype)
    line = relax.op.add(relax.op.multiply(x.expr, slope), shift)
    return graph.emit(relax.op.clip(line, 0, 1))


def _hard_swish(graph: Graph, node: GraphNode) -> Value | None:
    """x · clip(…, 0, h) · (1/h), the number anywhere → multiply(x, hard sigmoid)."""
    scale, parts = factors(node)
    if len(parts) != 2 or scale == 1:
        return None
    for x, gate in (parts, parts[::-1]):
        if not is_op(gate, "clip") or not same_dims(x.shape, node.shape):
            continue
        low, high = gate.leaf(1), gate.leaf(2)
        if low != 0 or not isinstance(high, (int, float)) or not close(high * scale, 1.0):
            continue
        unit = relax.op.divide(gate.expr, relax.const(float(high), node.dtype))
        return graph.emit(relax.op.multiply(x.expr, unit))
    return None


RULES: Rules = {
    "tanh": (_mish_gate,),
    "multiply": [_gelu, _silu, _hard_sigmoid, _hard_swish],
    "divide": [_sigmoid, _softmax, _hard_sigmoid, _gelu, _hard_swish],
    "maximum": [_leaky],
    "where": [_leaky_choice],
}
