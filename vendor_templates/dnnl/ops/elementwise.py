"""Element-wise ops: activations, unary and binary arithmetic, comparisons, where, casts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from byoc.segment import Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import DTYPES, Tensors, check_dtypes, check_float, first
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.rule import Lower, OpRule, Role

__all__ = ["RULES"]

FLOAT = ("float32",)

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805

UNARY: Mapping[str, tuple[str, float, float]] = {
    "abs": ("abs", 0, 0),
    "ceil": ("ceil", 0, 0),
    "cos": ("cos", 0, 0),
    "erf": ("erf", 0, 0),
    "exp": ("exp", 0, 0),
    "floor": ("floor", 0, 0),
    "negative": ("linear", -1, 0),
    "nn.gelu": ("gelu_erf", 0, 0),
    "nn.gelu_tanh": ("gelu_tanh", 0, 0),
    "nn.relu": ("relu", 0, 0),
    "nn.silu": ("swish", 1, 0),
    "round": ("round", 0, 0),
    "rsqrt": ("rsqrt", 0, 0),  # oneDNN's power is +0 of -inf and +inf of -0
    "sigmoid": ("logistic", 0, 0),
    "sin": ("sin", 0, 0),
    "sqrt": ("sqrt", 0, 0),
    "square": ("square", 0, 0),
    "tanh": ("tanh", 0, 0),
}
"""Relax op → eltwise alg, alpha, beta. Without log, and softplus and Mish, which are made of it:
oneDNN's is off by 3e-6 around 1, where the result is next to nothing."""

BINARY: Mapping[str, str] = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "maximum": "max",
    "minimum": "min",
    "power": "pow",
}
COMPARE: Mapping[str, str] = {
    "equal": "eq",
    "not_equal": "ne",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
}


def _eltwise(
    graph: DnnlGraph,
    value: int,
    alg: str,
    alpha: float = 0.0,
    beta: float = 0.0,
    *,
    out: int | None,
) -> int:
    """One eltwise op; `out` None makes a fresh value of the same shape."""
    return graph.emit(
        "eltwise",
        [value],
        graph.shape(value),
        out=out,
        alg=alg,
        alpha=float(alpha),
        beta=float(beta),
    )


def _lower_unary(graph: DnnlGraph, node: Node) -> None:
    alg, alpha, beta = UNARY[node.op]
    _eltwise(graph, node.inputs[0], alg, alpha, beta, out=node.outputs[0])


def _lower_binary(algs: Mapping[str, str], graph: DnnlGraph, node: Node) -> None:
    graph.emit("binary", node.inputs, out=node.outputs[0], alg=algs[node.op])


def _check_compare(node: Node, tensors: Tensors) -> Reject | None:
    return first(
        check_dtypes(node, tensors, node.inputs, FLOAT),
        check_dtypes(node, tensors, node.outputs, ("bool",)),
    )


def _bounds(node: Node) -> tuple[float, float]:
    low, high = node.attrs["min"], node.attrs["max"]
    return (-math.inf if low is None else float(low), math.inf if high is None else float(high))


def _check_clip(node: Node, tensors: Tensors) -> Reject | None:
    low, high = node.attrs.get("min"), node.attrs.get("max")
    if not all(b is None or isinstance(b, (int, float)) for b in (low, high)):
        return Reject(f"{node.op}: bounds {low!r} and {high!r} are not numbers")
    return check_float(node, tensors)


def _lower_clip(graph: DnnlGraph, node: Node) -> None:
    """Bounds beyond float32 are no bounds: ReLU, a one-sided limit, or nothing remains.

    The largest number is one: it tells infinity apart.
    """
    low, high = _bounds(node)
    limit = float(np.finfo(np.float32).max)
    x, out = node.inputs[0], node.outputs[0]
    if low >= -limit and high <= limit:
        _eltwise(graph, x, "clip", low, high, out=out)
    elif low == 0.0:
        _eltwise(graph, x, "relu", out=out)
    elif low >= -limit:
        bound = graph.constant(np.full((1,) * graph.rank(x), low, np.float32))
        graph.emit("binary", [x, bound], out=out, alg="max")
    elif high <= limit:
        bound = graph.constant(np.full((1,) * graph.rank(x), high, np.float32))
        graph.emit("binary", [x, bound], out=out, alg="min")
    else:
        _eltwise(graph, x, "linear", 1.0, 0.0, out=out)


def _lower_leaky(graph: DnnlGraph, node: Node) -> None:
    _eltwise(graph, node.inputs[0], "relu", node.attrs["alpha"], out=node.outputs[0])


def _lower_selu(graph: DnnlGraph, node: Node) -> None:
    inner = _eltwise(graph, node.inputs[0], "elu", _SELU_ALPHA, out=None)
    _eltwise(graph, inner, "linear", _SELU_SCALE, 0.0, out=node.outputs[0])


def _check_prelu(node: Node, tensors: Tensors) -> Reject | None:
    slope = tensors.type(node.inputs[1])
    if slope.size is None or len(slope.shape) != 1:
        return Reject(f"{node.op}: slope {slope} is not a vector of static length")
    return check_float(node, tensors)


def _lower_prelu(graph: DnnlGraph, node: Node) -> None:
    """``relu(x) + slope * min(x, 0)``, or a leaky ReLU when there is one constant slope."""
    (x, slope), out = node.inputs, node.outputs[0]
    number = graph.scalar(slope)
    if number is not None:
        _eltwise(graph, x, "relu", number, out=out)
        return
    rank = graph.rank(x)
    axis = int(node.attrs["axis"]) % rank
    aligned: list[int | str] = [1] * rank
    aligned[axis] = graph.shape(slope)[0]
    slope = graph.emit("reshape", [slope], aligned)
    zero = graph.constant(np.zeros((1,) * rank, np.float32))
    shape = graph.shape(x)
    negative = graph.emit("binary", [x, zero], shape, alg="min")
    scaled = graph.emit("binary", [negative, slope], shape, alg="mul")
    positive = _eltwise(graph, x, "relu", out=None)
    graph.emit("binary", [scaled, positive], out=out, alg="add")


def _check_where(node: Node, tensors: Tensors) -> Reject | None:
    return first(
        check_dtypes(node, tensors, node.inputs[:1], ("bool",)),
        check_dtypes(node, tensors, (*node.inputs[1:], *node.outputs), FLOAT),
    )


def _lower_where(graph: DnnlGraph, node: Node) -> None:
    graph.emit("where", node.inputs, out=node.outputs[0])


def _check_cast(node: Node, tensors: Tensors) -> Reject | None:
    return check_dtypes(node, tensors, (*node.inputs, *node.outputs), DTYPES)


def _lower_cast(graph: DnnlGraph, node: Node) -> None:
    graph.emit("cast", node.inputs, out=node.outputs[0])


def _lower_dropout(graph: DnnlGraph, node: Node) -> None:
    """At inference dropout is the identity; its mask, should anybody ask for it, is all ones."""
    graph.replace(node.outputs[0], node.inputs[0])
    if len(node.outputs) > 1:
        one = graph.constant(np.ones((1,) * graph.rank(node.inputs[0]), np.float32))
        graph.emit("broadcast", [one], out=node.outputs[1])


_ACTIVATIONS = frozenset({"nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu", "sigmoid", "tanh"})
"""Of the unary ops those that end a composite of an anchor."""


def _unary(op: str, lower: Lower = _lower_unary, role: Role = "plain") -> OpRule:
    return OpRule(op, check_float, lower, "float32", role)


RULES = (
    *(_unary(op, role="activation" if op in _ACTIVATIONS else "plain") for op in UNARY),
    *(OpRule(op, check_float, partial(_lower_binary, BINARY), "float32") for op in BINARY),
    *(
        OpRule(op, _check_compare, partial(_lower_binary, COMPARE), "float32 operands")
        for op in COMPARE
    ),
    OpRule("clip", _check_clip, _lower_clip, "float32; bounds are numbers", role="activation"),
    _unary("nn.leakyrelu", _lower_leaky, "activation"),
    _unary("nn.selu", _lower_selu),
    OpRule("nn.prelu", _check_prelu, _lower_prelu, "float32; slope of static length"),
    OpRule("where", _check_where, _lower_where, "bool condition, float32 values"),
    OpRule("astype", _check_cast, _lower_cast, f"among {', '.join(DTYPES)}"),
    OpRule("nn.dropout", check_float, _lower_dropout, "inference: the identity"),
)
