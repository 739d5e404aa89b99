"""BatchNorm at inference is a multiplication and an addition; both go into weights.

    batch_norm(x; g, b, m, v)  → x · s + t       s = g / √(v + ε),  t = b - m · s
    conv(x, W) · s              → conv(x, W · s)  s over the output channels
    matmul(x, W) · s            → matmul(x, W · s)

Computed in float64 and rounded once. A factor that finds no weights, or would make one of them
infinite, stays an op.
"""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.ir import Call

from byoc.frontends.normalise.arithmetic import CONVOLUTIONS
from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import is_op, tensors
from byoc.segment import Array
from byoc.support.memory import aligned_empty

__all__ = ["RULES"]


def _batch_norm(graph: Graph, node: GraphNode) -> Value | None:
    source = node.args[0]
    if node.call.index != 0 or not is_op(source, "nn.batch_norm") or source.attrs.training:
        return None
    x, *rest = source.args
    if not all(isinstance(r, Const) for r in rest) or x.ndim < 1:
        return None
    attrs = source.attrs
    gamma, beta, mean, variance = (r.array.astype(np.float64) for r in rest)
    scale = 1 / np.sqrt(variance + float(attrs.epsilon))
    if attrs.scale:
        scale = scale * gamma
    shift = (beta if attrs.center else 0.0) - mean * scale
    shape = [1] * x.ndim
    shape[int(attrs.axis)] = -1
    s, t = (graph.constant(v.reshape(shape).astype(node.dtype)) for v in (scale, shift))
    return graph.emit(relax.op.add(relax.op.multiply(x.expr, s.expr), t.expr))


def _into_weights(graph: Graph, node: GraphNode) -> Value | None:
    x, s = tensors(node)
    if not isinstance(s, Const) or not is_op(x, "matmul", *CONVOLUTIONS):
        return None
    if graph.only_user(x) is None or np.dtype(node.dtype).kind != "f":
        return None
    data, weight = tensors(x)
    if not isinstance(weight, Const) or weight.static_shape is None or x.shape is None:
        return None
    along = weight.ndim - 1 if x.op == "matmul" else x.attrs.kernel_layout.find("O")
    channel = x.ndim - 1 if x.op == "matmul" else x.attrs.out_layout.find("C")
    if weight.ndim < 2 or weight.dtype != s.dtype:
        return None
    if "transpose" in x.op and int(x.attrs.groups) != 1:
        return None  # its weight has the output channels of one group only
    factor = _per_channel(s, x.ndim, channel)
    if factor is None or factor.size not in (1, weight.static_shape[along]):
        return None
    scaled = aligned_empty(weight.static_shape, weight.dtype)
    shape = [1] * weight.ndim
    shape[along] = -1
    # float64 one slice at a time: a copy of a large weight in float64 would triple its memory
    if not _scale(scaled, weight.array, factor.astype(np.float64).reshape(shape)):
        return None
    call = Call(x.call.op, [data.expr, graph.constant(scaled).expr], x.attrs, x.call.ty_args)
    return graph.emit(call, x.name)


def _per_channel(s: Const, ndim: int, channel: int) -> Array | None:
    """The factors by channel, or one; None when they vary along anything else."""
    if s.size == 1 and s.ndim <= ndim:
        return s.array.reshape(1)
    if s.ndim > ndim or s.static_shape is None:
        return None
    shape = (1,) * (ndim - s.ndim) + s.static_shape
    if any(d != 1 for i, d in enumerate(shape) if i != channel):
        return None
    return s.array.reshape(-1)


def _scale(out: Array, weight: Array, factor: Array) -> bool:
    """False when a product overflows the type of the weights."""
    axis = 0 if weight.shape[0] > 1 else weight.ndim - 1
    step = max(1, (1 << 20) * weight.shape[axis] // max(weight.size, 1))
    for begin in range(0, weight.shape[axis], step):
        part = [slice(None)] * weight.ndim
        part[axis] = slice(begin, begin + step)
        index = tuple(part)
        by = factor[index] if factor.shape[axis] > 1 else factor
        with np.errstate(all="ignore"):
            np.multiply(weight[index], by, out=out[index], casting="same_kind")
        if not np.isfinite(out[index]).all():
            return False
    return True


RULES: Rules = {"get": [_batch_norm], "multiply": [_into_weights]}
