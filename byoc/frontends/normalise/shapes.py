"""Reshapes and transposes merged.

    reshape(reshape(x))                        → reshape(x)
    transpose(transpose(x))                    → transpose(x), or x
    transpose that only moves axes of length 1 → reshape(x)
    flatten(x)                                 → reshape(x)
    reshape(matmul(reshape(x, [-1, K]), W) [+ b], [..., N])
                                               → matmul(reshape(x, [..., K]), W) [+ b]
    reshape(matmul(reshape(x, [-1, M, K]), reshape(y, [-1, K, N])), [..., M, N])
                                               → matmul(x, y)   x [..., M, K], y [..., K, N]
    transpose(reshape(x))                      → reshape(transpose(x))
                                                 where the reshape only adds axes of length 1
    match_cast(x, shape of x)                  → x

A single `expand_dims` or `squeeze` stays what it is: it names the axis, which reshape does not.
"""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import is_op, tensors
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]

_RESHAPES = ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")


def _reshape(x: Any, shape: tuple[Any, ...]) -> Any:
    """A reshape; never to a dimension of 0, which Relax reads as "the dimension of x"."""
    return relax.op.reshape(x, list(shape))


def _merge_reshapes(graph: Graph, node: GraphNode) -> Value | None:
    inner = node.args[0]
    if node.shape is None or not is_op(inner, *_RESHAPES):
        return None
    x: Value = inner.args[0]
    if same_dims(x.shape, node.shape):
        return x
    if x.shape is None or _empty(node.shape):
        return None
    return graph.emit(_reshape(x.expr, node.shape))


def _as_reshape(graph: Graph, node: GraphNode) -> Value | None:
    x = node.args[0]
    if not isinstance(x, Value) or x.static_shape is None or node.shape is None:
        return None
    if _empty(node.shape):
        return None
    return graph.emit(_reshape(x.expr, node.shape))


def permutation(node: GraphNode) -> tuple[int, ...]:
    """The axes of a `permute_dims`."""
    axes = node.attrs.axes
    if axes is None:
        return tuple(range(node.ndim))[::-1]
    return tuple(int(a) % node.ndim for a in axes)


def _merge_transposes(graph: Graph, node: GraphNode) -> Value | None:
    x: Value = node.args[0]
    if node.ndim < 0:
        return None
    axes, merged = permutation(node), False
    if is_op(x, "permute_dims"):
        axes, merged = tuple(permutation(x)[a] for a in axes), True
        x = x.args[0]
    if axes == tuple(range(len(axes))):
        return x
    if x.static_shape is not None and node.shape is not None and not _empty(node.shape):
        moved = [a for a in axes if x.static_shape[a] != 1]
        if moved == sorted(moved):
            return graph.emit(_reshape(x.expr, node.shape))
    return graph.emit(relax.op.permute_dims(x.expr, list(axes))) if merged else None


def _unflatten(graph: Graph, node: GraphNode) -> Value | None:
    """A dense layer on flattened rows is one on the rows as they were."""
    top, bias = node.args[0], None
    if is_op(top, "add") and isinstance(tensors(top)[1], Const) and _alone(top):
        top, bias = tensors(top)
        if bias.ndim > 1 and bias.size != bias.static_shape[-1]:
            return None
    if not is_op(top, "matmul") or not _alone(top):
        return None
    rows, weight = tensors(top)
    if not is_op(rows, "reshape") or rows.ndim != 2 or weight.ndim != 2:
        return None
    x, shape = rows.args[0], node.shape
    if x.shape is None or shape is None or weight.static_shape is None:
        return None
    depth, width = weight.static_shape
    if len(shape) < 2 or not same_dims(shape[-1:], (width,)) or _empty((*shape, depth)):
        return None
    if not same_dims(x.shape, (*shape[:-1], depth)):
        x = graph.emit(_reshape(x.expr, (*shape[:-1], depth)), rows.name)
    product = relax.op.matmul(x.expr, weight.expr, out_dtype=top.attrs.out_dtype)
    name = top.name
    if bias is None:
        return graph.emit(product, name)
    flat = graph.constant(bias.array.reshape(-1)) if bias.ndim > 1 else bias
    return graph.emit(relax.op.add(graph.emit(product, name).expr, flat.expr), name)


def _unbatch(graph: Graph, node: GraphNode) -> Value | None:
    """A product whose batch axes were made one for it alone has them as they were."""
    top, shape = node.args[0], node.shape
    if shape is None or not is_op(top, "matmul") or top.ndim != 3 or not _alone(top):
        return None
    sources = []
    for operand in tensors(top):
        if not is_op(operand, "reshape") or operand.ndim != 3:
            return None
        x: Value = operand.args[0]
        fits = (
            x.shape is not None
            and len(x.shape) == len(shape)
            and same_dims(x.shape[:-2], shape[:-2])
            and operand.shape is not None
            and same_dims(x.shape[-2:], operand.shape[-2:])
        )
        if not fits:
            return None
        sources.append(x)
    return graph.emit(
        relax.op.matmul(*(x.expr for x in sources), out_dtype=top.attrs.out_dtype), top.name
    )


def _transpose_first(graph: Graph, node: GraphNode) -> Value | None:
    """Axes of length 1 that a reshape adds take no part in a transpose."""
    widened, shape = node.args[0], node.static_shape
    if shape is None or not is_op(widened, "reshape", "expand_dims") or _empty(shape):
        return None
    x, wide = widened.args[0], widened.static_shape
    if x.static_shape is None or wide is None or len(wide) <= x.ndim:
        return None
    long = [a for a, d in enumerate(x.static_shape) if d != 1]
    if [x.static_shape[a] for a in long] != [d for d in wide if d != 1]:
        return None
    source = dict(zip((a for a, d in enumerate(wide) if d != 1), long, strict=True))
    axes = [a for a in range(x.ndim) if a not in long]
    axes += [source[a] for a in permutation(node) if a in source]
    return graph.emit(_reshape(graph.emit(relax.op.permute_dims(x.expr, axes)).expr, shape))


def _known_to_fit(graph: Graph, node: GraphNode) -> Value | None:
    """A cast to what the value is, as once symbolic dimensions have got their sizes."""
    value = node.args[0]
    if not isinstance(value, Value) or not same_dims(value.shape, node.shape):
        return None
    if value.dtype != node.dtype:
        return None
    node.pure = True  # nothing is left to be checked
    return value


def _empty(shape: tuple[Any, ...]) -> bool:
    return any(isinstance(d, int) and d == 0 for d in shape)


def _alone(node: GraphNode) -> bool:
    return node.graph.only_user(node) is not None


RULES: Rules = {
    **{op: [_merge_reshapes] for op in _RESHAPES},
    "reshape": [_merge_reshapes, _unflatten, _unbatch],
    "flatten": [_merge_reshapes, _as_reshape],
    "nn.batch_flatten": [_merge_reshapes, _as_reshape],
    "match_cast": [_known_to_fit],
    "permute_dims": [_merge_transposes, _transpose_first],
}
