"""From channels last to channels first: transposes sink until they meet their inverse.

TFLite's images are NHWC. Converters write convolutions and pools in NCHW between two transposes,
the form in which ONNX models come; here these go::

    T ─ conv ─ T' ─ add ─ relu ─ T ─ conv ─ T'          T' is moved behind what does not care,
    T ─ conv ─ add ─ relu ─ T' ─ T ─ conv ─ T'    =     and meets T
    T ─ conv ─ add ─ relu ─ conv ─ T'

What is left stands at the model's inputs and outputs, which keep their layout. Those at an input
are then moved up to it, out of the quantisation that vendors match as one with the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import Call

from byoc.frontends.normalise import fold, identities
from byoc.frontends.normalise.cse import merge_equal
from byoc.frontends.normalise.engine import Rule, Rules, apply, merge
from byoc.frontends.normalise.graph import Arg, Const, Graph, GraphNode, Input, Value, expression
from byoc.frontends.normalise.match import is_op
from byoc.frontends.normalise.shapes import permutation

__all__ = ["to_channels_first"]

_UNARY = (
    "abs", "astype", "ceil", "clip", "cos", "erf", "exp", "floor", "log", "logical_not",
    "negative", "nn.gelu", "nn.gelu_tanh", "nn.leakyrelu", "nn.relu", "nn.silu", "round",
    "rsqrt", "sigmoid", "sign", "sin", "sqrt", "square", "tanh", "trunc",
)  # fmt: skip
_BINARY = (
    "add", "divide", "equal", "floor_divide", "greater", "greater_equal", "less", "less_equal",
    "logical_and", "logical_or", "maximum", "minimum", "multiply", "not_equal", "power",
    "right_shift", "subtract", "where",
)  # fmt: skip
_REDUCTIONS = ("max", "mean", "min", "prod", "sum")
_ROUNDS = 20


def to_channels_first(graph: Graph) -> None:
    """Cancel the transposes of a graph as far as they go, in place."""
    for _ in range(_ROUNDS):
        changed = apply(graph, _SINK)
        if not (merge_equal(graph) or changed):
            break
    apply(graph, _RISE)
    merge_equal(graph)
    graph.sweep()


def _below(value: Arg) -> tuple[Value, tuple[int, ...]] | None:
    """(x, axes) for a value that is a transpose of x."""
    if not is_op(value, "permute_dims") or value.ndim < 0:
        return None
    return value.args[0], permutation(value)


def _may_mix(axes: Sequence[int]) -> bool:
    """Whether operands that are not transposed may be brought before such a transpose.

    That makes an inverse transpose of them, which must not sink in its turn, or the two would
    chase each other: one direction only, from channels first to last. (Of three dimensions both
    directions are the same.)
    """
    rank = len(axes)
    return rank > 3 and tuple(axes) == (0, *range(2, rank), 1)


def _inverse(axes: Sequence[int]) -> list[int]:
    return [axes.index(i) for i in range(len(axes))]


def _again(node: GraphNode, args: list[Any], axes: Sequence[int]) -> Any:
    """The op on other arguments, and then the transpose, as an expression."""
    call = Call(node.call.op, [expression(a) for a in args], node.attrs, node.call.ty_args)
    return relax.op.permute_dims(call, list(axes))


def _compose(graph: Graph, node: GraphNode) -> Value | None:
    """Of two transposes one, of inverse ones none.

    One that only moves axes of length 1 is a reshape, but becomes one later: a reshape would stay
    where it is, between an op and its quantisation.
    """
    axes, found = permutation(node), _below(node.args[0])
    value: Value = node.args[0]
    if found is not None:
        value, inner = found
        axes = tuple(inner[a] for a in axes)
    if axes == tuple(range(len(axes))):
        return value
    return None if found is None else graph.emit(relax.op.permute_dims(value.expr, list(axes)))


def _unary(graph: Graph, node: GraphNode) -> Value | None:
    found = _below(node.args[0])
    if found is None:
        return None
    x, axes = found
    return graph.emit(_again(node, [x, *node.args[1:]], axes))


def _same_grid(graph: Graph, node: GraphNode) -> Value | None:
    """quantize(dequantize(q)) on one grid, left between two moves, is q."""
    inner = node.args[0]
    if not is_op(inner, "dequantize") or inner.args[0].dtype != node.dtype:
        return None
    pairs = list(zip(node.args[1:], inner.args[1:], strict=True))
    if not all(isinstance(a, Const) and isinstance(b, Const) and a.size == 1 for a, b in pairs):
        return None
    if any(a.size != b.size or a.array.item() != b.array.item() for a, b in pairs):
        return None
    value: Value = inner.args[0]
    return value


def _quantisation(graph: Graph, node: GraphNode) -> Value | None:
    """With one scale; activations have one."""
    if any(isinstance(a, Value) and a.ndim != 0 for a in node.args[1:]):
        return None
    return _unary(graph, node)


def _elementwise(graph: Graph, node: GraphNode) -> Value | None:
    """Operands behind one transpose; others of the same rank are transposed back."""
    rank = node.ndim
    moved = [_below(a) for a in node.args]
    axes = next((f[1] for f in moved if f is not None and len(f[1]) == rank), None)
    if axes is None:
        return None
    args = []
    for value, found in zip(node.args, moved, strict=True):
        other = _aligned(graph, value, found, axes)
        if other is None:
            return None
        args.append(other)
    return graph.emit(_again(node, args, axes))


def _aligned(
    graph: Graph, value: Any, found: tuple[Value, tuple[int, ...]] | None, axes: Sequence[int]
) -> Value | None:
    """The operand as it is before the transpose."""
    if found is not None and tuple(found[1]) == tuple(axes):
        return found[0]
    if not isinstance(value, Value) or value.static_shape is None:
        return None
    shape, back = value.static_shape, _inverse(axes)
    if value.ndim == 0 or (isinstance(value, Const) and value.size == 1):
        return value
    wide = (1,) * (len(axes) - len(shape)) + shape
    if isinstance(value, Const):
        array = np.ascontiguousarray(value.array.reshape(wide).transpose(back))
        return graph.constant(array)
    if not _may_mix(axes):
        return None
    expr = value.expr if wide == shape else relax.op.reshape(value.expr, list(wide))
    return graph.emit(relax.op.permute_dims(expr, back))


def _concat(graph: Graph, node: GraphNode) -> Value | None:
    parts = node.args[0]
    if not isinstance(parts, tuple):
        return None
    axes = next((f[1] for p in parts if (f := _below(p)) is not None), None)
    if axes is None:
        return None
    aligned = [_aligned(graph, p, _below(p), axes) for p in parts]
    if any(a is None for a in aligned):
        return None
    axis = axes[int(node.attrs.axis) % len(axes)]
    result = relax.op.concat([a.expr for a in aligned if a is not None], axis)
    return graph.emit(relax.op.permute_dims(result, list(axes)))


def _softmax(graph: Graph, node: GraphNode) -> Value | None:
    found = _below(node.args[0])
    if found is None:
        return None
    x, axes = found
    function = getattr(relax.op.nn, node.op.removeprefix("nn."))
    axis = axes[int(node.attrs.axis) % len(axes)]
    return graph.emit(relax.op.permute_dims(function(x.expr, axis), list(axes)))


def _reduction(graph: Graph, node: GraphNode) -> Value | None:
    """Reduced axes are renamed; what is left is transposed where its order changed."""
    found = _below(node.args[0])
    if found is None:
        return None
    x, axes = found
    given = node.attrs.axis
    reduced = sorted(axes) if given is None else sorted(axes[int(a) % len(axes)] for a in given)
    function = getattr(relax.op, node.op)
    if node.attrs.keepdims:
        result = function(x.expr, reduced, keepdims=True)
        return graph.emit(relax.op.permute_dims(result, list(axes)))
    left = [a for a in axes if a not in reduced]
    result = function(x.expr, reduced, keepdims=False)
    if left != sorted(left):
        result = relax.op.permute_dims(result, [sorted(left).index(a) for a in left])
    return graph.emit(result)


def _pad(graph: Graph, node: GraphNode) -> Value | None:
    found = _below(node.args[0])
    if found is None or node.attrs.pad_mode != "constant":
        return None
    x, axes = found
    width = [int(w) for w in node.attrs.pad_width]
    pairs = [width[2 * i : 2 * i + 2] for i in _inverse(axes)]
    flat = [w for pair in pairs for w in pair]
    result = relax.op.nn.pad(x.expr, flat, pad_value=float(node.attrs.pad_value))
    return graph.emit(relax.op.permute_dims(result, list(axes)))


def _slice(graph: Graph, node: GraphNode) -> Value | None:
    found = _below(node.args[0])
    if found is None:
        return None
    x, axes = found
    named, *bounds = (node.leaf(i) for i in range(1, len(node.args)))
    if not isinstance(named, tuple) or not all(isinstance(v, int) for v in named):
        return None
    renamed = [axes[int(a) % len(axes)] for a in named]
    result = relax.op.strided_slice(x.expr, renamed, *(list(b) for b in bounds))
    return graph.emit(relax.op.permute_dims(result, list(axes)))


def _rise(graph: Graph, node: GraphNode) -> Value | None:
    """A transpose behind functions of one value, of an input: stands at the input instead."""
    chain: list[GraphNode] = []
    value = node.args[0]
    while isinstance(value, GraphNode) and value.op in _RISING and _is_plain(value):
        if value.op not in _QUANTISATION and graph.only_user(value) is None:
            return None  # it would be computed twice
        chain.append(value)
        value = value.args[0]
    if not chain or not isinstance(value, Input):
        return None
    expr = relax.op.permute_dims(value.expr, list(permutation(node)))
    for step in reversed(chain):
        others = [expression(a) for a in step.args[1:]]
        expr = Call(step.call.op, [expr, *others], step.attrs, step.call.ty_args)
    return graph.emit(expr)


def _is_plain(node: GraphNode) -> bool:
    return all(not isinstance(a, Value) or a.ndim == 0 for a in node.args[1:])


_QUANTISATION = ("quantize", "dequantize")
_RISING = frozenset({*_UNARY, *_QUANTISATION})

_SINKS: dict[str, Sequence[Rule]] = {
    **dict.fromkeys(_UNARY, (_unary,)),
    **dict.fromkeys(_BINARY, (_elementwise,)),
    **dict.fromkeys(_REDUCTIONS, (_reduction,)),
    "quantize": (_same_grid, _quantisation),
    "dequantize": (_quantisation,),
    **dict.fromkeys(("nn.softmax", "nn.log_softmax"), (_softmax,)),
    "concat": (_concat,),
    "nn.pad": (_pad,),
    "permute_dims": (_compose,),
    "strided_slice": (_slice,),
}
_SINK: Rules = merge([_SINKS, fold.RULES, identities.RULES])
_RISE: Rules = {"permute_dims": [_rise]}
