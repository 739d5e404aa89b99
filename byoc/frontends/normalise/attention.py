"""Scaled dot-product attention, as one op.

    q [B,S,H,D] ─ transpose ─ Q ╮
    k [B,T,H,D] ─ transpose ─ Kᵀ ┴ matmul ─ · scale ─ + mask ─ softmax ╮
    v [B,T,H,E] ─ transpose ─ V ──────────────────────────────────────┴ matmul ─ transpose ─ y

      → nn.attention(q, k, v, mask, scale)            y [B,S,H,E]

The scale may sit on the scores, on Q, on K, or be split over both (ViT); the mask may be added
(BERT) or select (GPT-2), a lower triangle becomes `causal_mask`. All is left as it is where the
op would need more transposes than it removes. Source: Vaswani et al. 2017.

A mask that selects becomes one that is added where that gives the same numbers:

    where(keep, score, low)  =  score + (0 or -1e30)        low ≤ -1e9

-1e30 takes in every score, so a row that is hidden whole stays uniform; and beside a score that is
kept nothing as low as -1e9 has weight. With a number like -1e4, which scores do reach, the choice
stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Const, Graph, GraphNode, Value
from byoc.frontends.normalise.match import factors, is_op, number, tensors
from byoc.frontends.normalise.shapes import permutation
from byoc.frontends.normalise.values import same_dims

__all__ = ["RULES"]

_HEADS = (0, 2, 1, 3)  # [B,S,H,D] ↔ [B,H,S,D]
_MASKED = -1e9  # a term this low leaves no weight after softmax, whatever the scores are
_REPLACES = -1e30  # added to a score it gives itself


@dataclass
class _Operand:
    """value = factor · transpose(base, axes)."""

    factor: float
    base: Value
    axes: tuple[int, ...]

    def layout(self, order: tuple[int, ...]) -> tuple[int, ...]:
        """The transpose of `base` that gives the value's axes in `order`."""
        return tuple(self.axes[i] for i in order)


def _operand(value: Value) -> _Operand:
    factor, axes = 1.0, tuple(range(4))
    while True:
        if is_op(value, "permute_dims"):
            inner = permutation(value)
            axes = tuple(inner[a] for a in axes)
            value = value.args[0]
            continue
        scale, parts = factors(value)
        if len(parts) != 1 or parts[0] is value or parts[0].ndim != 4:
            return _Operand(factor, value, axes)
        factor *= scale
        value = parts[0]


@dataclass
class _Scores:
    product: GraphNode
    scale: float
    mask: Value | None = None  # added to the scores
    causal: bool = False


def _scores(graph: Graph, value: Any) -> _Scores | None:
    """What goes into the softmax: scale · matmul(Q, Kᵀ), then a mask."""
    plain = _scaled_product(value)
    if plain is not None:
        return plain
    if is_op(value, "add"):
        for product, mask in (tensors(value), tensors(value)[::-1]):
            found = _scaled_product(product)
            if found is not None and product.graph.only_user(product) is value:
                return _with_mask(graph, found, mask)
    if is_op(value, "where"):
        condition, a, b = value.args
        for product, fill, keep in ((a, b, True), (b, a, False)):
            found, low = _scaled_product(product), number(fill)
            if found is None or low is None or low > _MASKED:
                continue
            if product.graph.only_user(product) is value:
                return _with_mask(graph, found, _additive(graph, condition, low, keep))
    return None


def _scaled_product(value: Any) -> _Scores | None:
    if not isinstance(value, GraphNode):
        return None
    scale, parts = factors(value)
    if len(parts) != 1 or not is_op(parts[0], "matmul") or parts[0].ndim != 4:
        return None
    product = parts[0]
    if value is not product and graph_user(product) is None:
        return None
    return _Scores(product, scale)


def graph_user(node: GraphNode) -> GraphNode | None:
    """The only reader of a node."""
    return node.graph.only_user(node)


def _additive(graph: Graph, condition: Any, low: float, keep: bool) -> Value:
    """0 where the mask keeps, what replaces a score where it hides."""
    low = min(low, _REPLACES)
    kept, hidden = relax.const(0.0, "float32"), relax.const(low, "float32")
    if isinstance(condition, Const):
        shown = condition.array if keep else ~condition.array
        return graph.constant(np.where(shown, np.float32(0), np.float32(low)))
    pair = (kept, hidden) if keep else (hidden, kept)
    return graph.emit(relax.op.where(condition.expr, *pair))


def _with_mask(graph: Graph, scores: _Scores, mask: Value) -> _Scores:
    if isinstance(mask, Const) and _is_causal(mask, scores.product):
        return _Scores(scores.product, scores.scale, None, True)
    return _Scores(scores.product, scores.scale, mask)


def _is_causal(mask: Const, product: GraphNode) -> bool:
    shape, wanted = mask.static_shape, product.static_shape
    if shape is None or wanted is None or len(shape) < 2 or shape[-1] != shape[-2]:
        return False
    if shape[-2:] != wanted[-2:] or any(d != 1 for d in shape[:-2]):
        return False
    array = mask.array.reshape(shape[-2:])
    return not np.any(np.tril(array)) and bool(
        np.all(array[np.triu_indices_from(array, 1)] <= _MASKED)
    )


def _attention(graph: Graph, node: GraphNode) -> Value | None:
    weights, values = tensors(node)
    if node.ndim != 4 or node.dtype != "float32" or not is_op(weights, "nn.softmax"):
        return None
    if int(weights.attrs.axis) % 4 != 3 or graph.only_user(weights) is None:
        return None
    scores = _scores(graph, weights.args[0])
    if scores is None or graph_user(scores.product) is None:
        return None
    q, k = map(_operand, tensors(scores.product))
    v = _operand(values)
    if v.factor != 1 or scores.product.ndim != 4 or any(o.base.ndim != 4 for o in (q, k, v)):
        return None
    if not _same_batch(scores.product, node, values):
        return None
    layouts = (q.layout(_HEADS), k.layout((0, 3, 1, 2)), v.layout(_HEADS))
    identity = tuple(range(4))
    readers = list(node.users)
    leaves = bool(readers) and all(
        is_op(u, "permute_dims") and permutation(u) == _HEADS for u in readers
    )
    added = sum(layout != identity for layout in layouts) + (not leaves)
    removed = sum(o.axes != identity for o in (q, k, v)) + leaves
    if added > removed:
        return None
    operands = [
        o.base.expr if layout == identity else relax.op.permute_dims(o.base.expr, list(layout))
        for o, layout in zip((q, k, v), layouts, strict=True)
    ]
    mask = None
    if scores.mask is not None:
        mask = _mask_expr(graph, scores.mask, scores.product)
        if mask is None:
            return None
    result = graph.emit(
        relax.op.nn.attention(
            *(_typed(graph, o) for o in operands),
            bias=mask,
            scale=scores.scale * q.factor * k.factor,
            causal_mask="BottomRight" if scores.causal else None,
        )
    )
    return graph.emit(relax.op.permute_dims(result.expr, list(_HEADS)))


def _typed(graph: Graph, expr: Any) -> Any:
    """`nn.attention` reads the types of its arguments: no nested calls."""
    return expr if isinstance(expr, relax.Var) else graph.emit(expr).expr


def _same_batch(product: GraphNode, node: GraphNode, values: Value) -> bool:
    """No broadcast over batch and heads: the op has none."""
    q, k = tensors(product)
    if any(x.shape is None for x in (q, k, values)):
        return False
    lead = [x.shape[:2] for x in (q, k, values) if x.shape is not None]
    return all(same_dims(lead[0], other) for other in lead[1:])


def _mask_expr(graph: Graph, mask: Value, product: GraphNode) -> Any:
    """The mask with four dimensions, the last one whole; None when it is of another kind."""
    if mask.shape is None or product.shape is None or mask.dtype != "float32":
        return None
    if not 1 <= mask.ndim <= 4 or not same_dims(mask.shape[-1:], product.shape[-1:]):
        return None
    full = (1,) * (4 - mask.ndim) + mask.shape
    for have, want in zip(full, product.shape, strict=True):
        if not (isinstance(have, int) and have == 1) and not same_dims((have,), (want,)):
            return None
    if mask.ndim == 4:
        return mask.expr
    if isinstance(mask, Const):
        return graph.constant(mask.array.reshape(full)).expr
    return graph.emit(relax.op.reshape(mask.expr, list(full))).expr


RULES: Rules = {"matmul": [_attention]}
