"""Normalisations that exporters spell out, as one op.

    (x - mean(x)) / √(mean((x - mean(x))²) + ε)   → nn.layer_norm(x, 1, 0)
    x / √(mean(x²) + ε)                           → nn.rms_norm(x, 1)
    layer_norm(x, g, b) · c, … + c                → layer_norm(x, g c, b c), layer_norm(x, g, b + c)
    rms_norm(x, g) · c                            → rms_norm(x, g c)
    reshape(instance_norm(reshape(x, [N, G, -1]))) · g + b  → nn.group_norm(x, g, b, G)

Division by a root may be spelled as a product with rsqrt, 1/√ or a power of -½, squares as
x·x or powers. Sources: Ba et al. 2016, Zhang and Sennrich 2019, Wu and He 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.normalise.arithmetic import combine
from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import affine, is_op, number, tensors
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]


def _root(value: Any) -> Any:
    """v for √v."""
    if is_op(value, "sqrt") or (is_op(value, "power") and number(value.args[1]) == 0.5):
        return value.args[0]
    return None


def _inverse_root(value: Any) -> Any:
    """v for 1/√v."""
    if is_op(value, "rsqrt") or (is_op(value, "power") and number(value.args[1]) == -0.5):
        return value.args[0]
    if is_op(value, "divide") and number(value.args[0]) == 1:
        return _root(value.args[1])
    return None


def _squared(value: Any) -> Any:
    """v for v²."""
    if is_op(value, "square") or (is_op(value, "power") and number(value.args[1]) == 2):
        return value.args[0]
    if is_op(value, "multiply") and value.args[0] is value.args[1]:
        return value.args[0]
    return None


def _last_axes(reduction: Any) -> int | None:
    """How many last axes a reduction with kept dimensions covers; None for any other."""
    axis = reduction.attrs.axis
    if not reduction.attrs.keepdims:
        return None
    rank = reduction.ndim
    axes = sorted(int(a) % rank for a in axis) if axis is not None else list(range(rank))
    return len(axes) if axes == list(range(rank - len(axes), rank)) else None


def _normalised(graph: Graph, node: GraphNode) -> Value | None:
    if node.op == "divide":
        x, variance = node.args[0], _root(node.args[1])
        return _norm(graph, node, x, variance)
    for x, gate in (tensors(node), tensors(node)[::-1]):
        found = _norm(graph, node, x, _inverse_root(gate))
        if found is not None:
            return found
    return None


def _norm(graph: Graph, node: GraphNode, x: Any, variance: Any) -> Value | None:
    if variance is None or np.dtype(node.dtype).kind != "f":
        return None
    scale, average, epsilon = affine(variance)
    if scale != 1 or not 0 <= epsilon < 1 or not is_op(average, "mean", "variance"):
        return None
    count = _last_axes(average)
    if count is None or x.shape is None or not same_dims(x.shape, node.shape):
        return None
    if count >= x.ndim:  # TVM's kernels of norms need an axis to stand on
        return None
    axes = list(range(-count, 0))
    data = _centred(x, count)
    if is_op(average, "variance"):
        wanted = average.args[0] is data
    else:
        inner = _squared(average.args[0])
        wanted = inner is x or (data is not None and _same_centring(inner, data, count))
        if inner is x and data is None:
            shape = _ones_shape(x, count)
            if shape is None:
                return None
            ones = graph.constant(np.ones(shape, node.dtype))
            return graph.emit(relax.op.nn.rms_norm(x.expr, ones.expr, axes, epsilon))
    if not wanted or data is None:
        return None
    shape = _ones_shape(data, count)
    if shape is None:
        return None
    gamma = graph.constant(np.ones(shape, node.dtype))
    beta = graph.constant(np.zeros(shape, node.dtype))
    return graph.emit(relax.op.nn.layer_norm(data.expr, gamma.expr, beta.expr, axes, epsilon))


def _centred(value: Any, count: int) -> Any:
    """v for v - mean(v over the last axes)."""
    if not is_op(value, "subtract"):
        return None
    data, average = tensors(value)
    if is_op(average, "mean") and average.args[0] is data and _last_axes(average) == count:
        return data
    return None


def _same_centring(value: Any, data: Value, count: int) -> bool:
    return value is not None and _centred(value, count) is data


def _ones_shape(x: Value, count: int) -> tuple[int, ...] | None:
    shape = x.shape[-count:] if x.shape is not None and count else ()
    return shape if shape and all(isinstance(d, int) for d in shape) else None


def _with_parameter(node: GraphNode, norm: Any, c: Any, which: int) -> Any:
    """The norm's parameter combined with a constant that fits it, else None."""
    parameter = norm.args[which]
    if not isinstance(c, Const) or not isinstance(parameter, Const):
        return None
    if norm.graph.only_user(norm) is None or not same_dims(norm.shape, node.shape):
        return None
    shape = parameter.static_shape or ()
    if c.size == 1:
        return c.array.reshape(())
    fits = c.ndim <= norm.ndim and c.size == parameter.size and (c.static_shape or ())
    return c.array.reshape(shape) if fits and _covers(fits, shape) else None


def _covers(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    lead = len(shape) - len(wanted)
    return lead >= 0 and shape[lead:] == wanted and all(d == 1 for d in shape[:lead])


def _scale(graph: Graph, node: GraphNode) -> Value | None:
    norm, c = tensors(node)
    if is_op(norm, "nn.rms_norm"):
        factor = _with_parameter(node, norm, c, 1)
        if factor is None:
            return None
        x, gamma = norm.args
        weight = graph.constant(combine(np.multiply, gamma.array, factor))
        a = norm.attrs
        return graph.emit(relax.op.nn.rms_norm(x.expr, weight.expr, list(a.axes), a.epsilon))
    if not is_op(norm, "nn.layer_norm"):
        return None
    factor = _with_parameter(node, norm, c, 1)
    beta = norm.args[2]
    if factor is None or not isinstance(beta, Const):
        return None
    gamma = norm.args[1]
    return _layer_norm(
        graph,
        norm,
        combine(np.multiply, gamma.array, factor),
        combine(np.multiply, beta.array, factor),
    )


def _shift(graph: Graph, node: GraphNode) -> Value | None:
    norm, c = tensors(node)
    if not is_op(norm, "nn.layer_norm"):
        return None
    term = _with_parameter(node, norm, c, 2)
    if term is None:
        return None
    gamma, beta = norm.args[1:]
    return _layer_norm(graph, norm, gamma.array, combine(np.add, beta.array, term))


def _layer_norm(graph: Graph, norm: Any, gamma: Any, beta: Any) -> Value:
    x, a = norm.args[0], norm.attrs
    g, b = graph.constant(gamma), graph.constant(beta)
    return graph.emit(relax.op.nn.layer_norm(x.expr, g.expr, b.expr, list(a.axes), a.epsilon))


def _group_norm(graph: Graph, node: GraphNode) -> Value | None:
    """reshape(instance_norm(reshape(x, [N, G, …]), 1, 0), shape of x) → group_norm."""
    norm = node.args[0]
    if not is_op(norm, "nn.instance_norm") or norm.graph.only_user(norm) is None:
        return None
    flat, gamma, beta = norm.args
    if number(gamma) != 1 or number(beta) != 0 or not is_op(flat, "reshape"):
        return None
    x = flat.args[0]
    if not same_dims(x.shape, node.shape) or x.shape is None or flat.shape is None or x.ndim < 3:
        return None
    channels, groups = x.shape[1], flat.shape[1]
    if not isinstance(channels, int) or not isinstance(groups, int) or channels % groups:
        return None
    if not same_dims(x.shape[:1], flat.shape[:1]) or int(norm.attrs.channel_axis) != 1:
        return None
    ones = graph.constant(np.ones(channels, node.dtype))
    zeros = graph.constant(np.zeros(channels, node.dtype))
    axes = list(range(2, x.ndim))
    return graph.emit(
        relax.op.nn.group_norm(
            x.expr, ones.expr, zeros.expr, groups, 1, axes, float(norm.attrs.epsilon)
        )
    )


def _channel_parameter(graph: Graph, node: GraphNode) -> Value | None:
    """group_norm(x, g, b) · c, … + c with c by channel."""
    norm, c = tensors(node)
    if not is_op(norm, "nn.group_norm") or not isinstance(c, Const):
        return None
    x, gamma, beta = norm.args
    if not isinstance(gamma, Const) or not isinstance(beta, Const):
        return None
    if graph.only_user(norm) is None or not same_dims(norm.shape, node.shape):
        return None
    shape = (1,) * (norm.ndim - c.ndim) + (c.static_shape or ())
    if len(shape) != norm.ndim or any(d != 1 for i, d in enumerate(shape) if i != 1):
        return None
    by = c.array.reshape(-1)
    if node.op == "multiply":
        g, b = combine(np.multiply, gamma.array, by), combine(np.multiply, beta.array, by)
    else:
        g, b = gamma.array, combine(np.add, beta.array, by)
    a = norm.attrs
    gc, bc = graph.constant(g), graph.constant(b)
    return graph.emit(
        relax.op.nn.group_norm(
            x.expr, gc.expr, bc.expr, int(a.num_groups), int(a.channel_axis), list(a.axes),
            float(a.epsilon),
        )
    )  # fmt: skip


RULES: Rules = {
    "divide": [_normalised],
    "multiply": [_normalised, _scale, _channel_parameter],
    "add": [_shift, _channel_parameter],
    "reshape": [_group_norm],
}
