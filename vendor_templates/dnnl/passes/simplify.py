"""Local clean-up: no-ops vanish, chains of moves become one, arithmetic with numbers is eltwise.

Each rule looks at one op and what feeds it, answers whether it changed something, and is written
as an equation in its docstring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from byoc.segment import Array, Dim
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp
from byoc.vendor_templates.dnnl.ops.rule import Rewrite
from byoc.vendor_templates.dnnl.ops.spelling import eltwise

__all__ = ["broadcast_shape", "fold_constants", "restore_divisions", "simplify"]


def simplify(graph: DnnlGraph) -> None:
    """Apply the rules of `RULES` to every op until none fits."""
    for op in graph.walk():
        while not op.dead and any(rule(graph, op) for rule in RULES.get(op.kind, ())):
            pass
    graph.prune()


def fold_constants(graph: DnnlGraph) -> None:
    """Transposed and reshaped constants are computed here; reshaped ones share their memory."""
    for op in graph.walk():
        array = graph.constants.get(op.inputs[0]) if op.inputs else None
        if array is None or op.post:
            continue
        folded: Array | None = None
        if op.kind == "transpose":
            folded = np.ascontiguousarray(np.transpose(array, op.attrs["axes"]))
        elif op.kind == "reshape" and graph.type(op.out).is_static:
            folded = array.reshape([int(d) for d in graph.shape(op.out)])
        if folded is not None:
            graph.replace(op.out, graph.constant(folded))


def broadcast_shape(a: Sequence[Dim], b: Sequence[Dim]) -> tuple[Dim, ...] | None:
    """Return the shape that numpy broadcasting gives.

    Args:
        a: One shape.
        b: The other shape.

    Returns:
        The shape, or None when symbolic dims leave it open.
    """
    rank = max(len(a), len(b))
    a = [1] * (rank - len(a)) + list(a)
    b = [1] * (rank - len(b)) + list(b)
    if all(x == y or 1 in (x, y) for x, y in zip(a, b, strict=True)):
        return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))
    return None


# Moves


def _reshape(graph: DnnlGraph, op: DnnlOp) -> bool:
    """reshape(x) = x where the shape stays; reshape(reshape(x)) = reshape(x)"""
    x = op.inputs[0]
    if graph.shape(x) == graph.shape(op.out):
        graph.replace(op.out, x)
        return True
    inner = graph.made_by(x, "reshape", alone=False)
    if inner is not None:
        graph.morph(op, "reshape", inner.inputs)
        return True
    return False


def _transpose(graph: DnnlGraph, op: DnnlOp) -> bool:
    """transpose(x) = x, transpose(transpose(x)) = transpose(x); only 1s moved = reshape(x)"""
    x, axes = op.inputs[0], op.attrs["axes"]
    if axes == list(range(len(axes))):
        graph.replace(op.out, x)
        return True
    inner = graph.made_by(x, "transpose", alone=False)
    if inner is not None:
        composed = [inner.attrs["axes"][a] for a in axes]
        graph.morph(op, "transpose", inner.inputs, {"axes": composed})
        return True
    long = [a for a in axes if graph.shape(x)[a] != 1]
    if long == sorted(long) and x not in graph.constants:
        graph.morph(op, "reshape", [x])
        return True
    return False


def _same(graph: DnnlGraph, op: DnnlOp) -> bool:
    """f(x) = x where f changes neither shape nor dtype: broadcast, slice, concat, cast"""
    if len(op.inputs) == 1 and graph.type(op.inputs[0]) == graph.type(op.out):
        graph.replace(op.out, op.inputs[0])
        return True
    return False


def _unbroadcast(graph: DnnlGraph, op: DnnlOp) -> bool:
    """f(broadcast(a), b) = f(a, b) where b alone gives the result its shape"""
    for place, value in enumerate(op.inputs):
        source = graph.made_by(value, "broadcast", alone=False)
        if source is None:
            continue
        shape: tuple[Dim, ...] | None = graph.shape(source.inputs[0])
        for other in op.inputs[:place] + op.inputs[place + 1 :]:
            shape = None if shape is None else broadcast_shape(shape, graph.shape(other))
        if shape == graph.shape(op.out):
            inputs = [*op.inputs[:place], source.inputs[0], *op.inputs[place + 1 :]]
            graph.morph(op, op.kind, inputs, op.attrs, op.post)
            return True
    return False


# Arithmetic


def _scalar(graph: DnnlGraph, op: DnnlOp) -> bool:
    """x + c, x - c, c - x, x * c, x / c, c / x, x ** c become eltwise; x * x is a square"""
    a, b = op.inputs
    alg = op.attrs["alg"]
    if op.post:
        return False
    if alg == "mul" and a == b:
        return eltwise(graph, op, a, "square")
    right = alg in ("add", "sub", "mul", "div", "pow", "max")
    if right and (c := graph.scalar(b)) is not None and graph.shape(a) == graph.shape(op.out):
        return _by_number(graph, op, a, alg, c)
    left = alg in ("add", "sub", "mul", "div", "max")
    if left and (c := graph.scalar(a)) is not None and graph.shape(b) == graph.shape(op.out):
        if alg == "sub":
            return eltwise(graph, op, b, "linear", -1.0, c)
        if alg == "div":
            return eltwise(graph, op, b, "pow", c, -1.0)
        return _by_number(graph, op, b, alg, c)
    return False


def _by_number(graph: DnnlGraph, op: DnnlOp, x: int, alg: str, c: float) -> bool:
    match alg:
        case "add" | "sub":
            return eltwise(graph, op, x, "linear", 1.0, c if alg == "add" else -c)
        case "mul":
            return eltwise(graph, op, x, "linear", c)
        case "div" if c != 0 and math.isfinite(1 / c):
            # A reciprocal is another rounding, which a floor or a cast behind it may show: idioms
            # see a factor, and what is left of it is divided after all (`restore_divisions`).
            eltwise(graph, op, x, "linear", 1 / c)
            if abs(math.frexp(c)[0]) != 0.5:
                op.attrs["divisor"] = c
            return True
        case "max" if c == 0:
            return eltwise(graph, op, x, "relu")
        case "pow" if c == 2:
            return eltwise(graph, op, x, "square")
        case "pow" if c == 0.5:
            return eltwise(graph, op, x, "sqrt")
        case "pow":
            return eltwise(graph, op, x, "pow", 1.0, c)
    return False


def _limits(graph: DnnlGraph, op: DnnlOp) -> bool:
    """min(max(x, a), b) = max(min(x, b), a) = clip(x, a, b) for a <= b; min(relu(x), b) as well"""
    if op.attrs["alg"] not in ("min", "max") or op.post:
        return False
    x, outer = _limit(graph, op)
    if outer is None or graph.shape(x) != graph.shape(op.out):
        return False
    opposite = "max" if op.attrs["alg"] == "min" else "min"
    inner_op = graph.made_by(x, "binary")
    inner: float | None = None
    if inner_op is not None and inner_op.attrs["alg"] == opposite and not inner_op.post:
        x, inner = _limit(graph, inner_op)
    elif opposite == "max" and (relu := _plain_relu(graph, x)) is not None:
        x, inner = relu.inputs[0], 0.0
    if inner is None or graph.shape(x) != graph.shape(op.out):
        return False
    low, high = (inner, outer) if opposite == "max" else (outer, inner)
    return low <= high and eltwise(graph, op, x, "clip", low, high)


def _plain_relu(graph: DnnlGraph, value: int) -> DnnlOp | None:
    op = graph.made_by(value, "eltwise")
    if op is None or op.post or op.attrs["alg"] != "relu" or op.attrs["alpha"] != 0:
        return None
    return op


def _limit(graph: DnnlGraph, op: DnnlOp) -> tuple[int, float | None]:
    """Operand and number of ``min(x, c)`` or ``max(x, c)``, in either order."""
    a, b = op.inputs
    number = graph.scalar(b)
    return (a, number) if number is not None else (b, graph.scalar(a))


def _linear(graph: DnnlGraph, op: DnnlOp) -> bool:
    """1 * x + 0 = x; 1 * (c * x) + b = c * x + b; -(c * x + d) = -c * x - d

    Other chains would change what overflows and what is rounded (x + 1.5 * 2**23 - 1.5 * 2**23).
    """
    if op.attrs["alg"] != "linear" or op.post:
        return False
    alpha, beta = op.attrs["alpha"], op.attrs["beta"]
    if alpha == 1 and beta == 0:
        graph.replace(op.out, op.inputs[0])
        return True
    inner = graph.made_by(op.inputs[0], "eltwise")
    if inner is None or inner.attrs["alg"] != "linear" or inner.post or _divides(inner, op):
        return False
    a, b = inner.attrs["alpha"], inner.attrs["beta"]
    sign = beta == 0 and abs(alpha) == 1
    if sign or (b == 0 and (alpha == 1 or abs(a) == 1)):
        return eltwise(graph, op, inner.inputs[0], "linear", a * alpha, b * alpha + beta)
    return False


def _divides(*ops: DnnlOp) -> bool:
    return any("divisor" in op.attrs for op in ops)


def restore_divisions(graph: DnnlGraph) -> None:
    """What is still a factor 1 / c that is no float becomes the division it was."""
    for op in graph.walk():
        if op.kind == "eltwise" and "divisor" in op.attrs:
            number = np.full((1,) * graph.rank(op.out), op.attrs["divisor"], np.float32)
            graph.morph(op, "binary", [op.inputs[0], graph.constant(number)], {"alg": "div"})


def _root(graph: DnnlGraph, op: DnnlOp) -> bool:
    """sqrt(x) ** c = x ** (c / 2)"""
    if op.attrs["alg"] != "pow" or op.post:
        return False
    inner = graph.made_by(op.inputs[0], "eltwise")
    if inner is None or inner.attrs["alg"] != "sqrt" or inner.post:
        return False
    return eltwise(graph, op, inner.inputs[0], "pow", op.attrs["alpha"], op.attrs["beta"] / 2)


RULES: Mapping[str, Sequence[Rewrite]] = {
    "reshape": (_reshape,),
    "transpose": (_transpose,),
    "broadcast": (_same,),
    "slice": (_same,),
    "concat": (_same,),
    "cast": (_same,),
    "where": (_unbroadcast,),
    "binary": (_unbroadcast, _scalar, _limits),
    "eltwise": (_linear, _root),
}
