"""Scaled dot-product attention, spelled out, becomes one op.

::

    q ─┐
    k ─┴ matmul ── * scale ── + mask ── softmax ─┐
    v ───────────────────────────────────────────┴ matmul        found from here, upwards

Scales may also sit on q or k, masks may be additions or a `where` with a very negative number,
and exporters that flatten [B, H, S, D] to [B*H, S, D] put reshapes between.

A `where` becomes an addition where that gives the same numbers: its number is so low that it takes
in every score. With one that scores may reach (-1e4) the op chooses, too (attribute `hidden`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from byoc.segment import Array, Dim
from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp
from byoc.vendor_templates.dnnl.ops.spelling import peel_linear
from byoc.vendor_templates.dnnl.passes.simplify import broadcast_shape

__all__ = ["fuse_attention"]

_MASKED = -1e9
"""Numbers from here down leave no weight after softmax, whatever the scores are."""

_CHOSEN = -1e4
"""Numbers from here down are taken for a mask when a `where` chooses them."""

_REPLACES = -1e30
"""Added to a score it gives itself, as if it had replaced the score: also where all are masked."""

_HEADS_FIRST = [0, 2, 1, 3]


@dataclass(frozen=True)
class _Mask:
    """A mask added to scores of this rank, and what the sum is multiplied with."""

    value: int
    rank: int
    factor: float


@dataclass
class _Scores:
    """What lies between the first product and the softmax."""

    product: DnnlOp
    scale: float
    masks: list[_Mask] = field(default_factory=list)
    causal: bool = False
    heads: tuple[Dim, Dim] | None = None  # B and H, where the scores are [B, H, S, T]
    hidden: float | None = None  # takes the place of a score where the one mask is not 0


def fuse_attention(graph: DnnlGraph) -> None:
    """Replace every attention found; one walk, each tried from its last product."""
    for op in graph.walk():
        if op.kind == "matmul" and not op.post and len(op.inputs) == 2:
            _fuse(graph, op)


def _fuse(graph: DnnlGraph, op: DnnlOp) -> None:
    if op.attrs["transpose_a"] or op.attrs["transpose_b"]:
        return
    weights = _through_reshape(graph, op.inputs[0])
    softmax = graph.made_by(weights, "softmax")
    if softmax is None or softmax.attrs["log"]:
        return
    shape = graph.shape(softmax.out)
    rank = len(shape)
    if rank not in (3, 4) or softmax.attrs["axis"] != rank - 1:
        return
    scores = _scores(graph, softmax.inputs[0], shape)
    if scores is None:
        return
    q, k = scores.product.inputs
    v = op.inputs[1]
    heads = _heads(graph, scores.heads, (q, k, v))
    if heads is None:
        return
    (q, q_scale), (k, k_scale) = _unscaled(graph, q), _unscaled(graph, k)
    masks = [_wide_mask(graph, mask, heads) for mask in scores.masks]
    mask = _one_mask(graph, masks, (*heads, *shape[-2:]))
    attrs: dict[str, Any] = {"scale": scores.scale * q_scale * k_scale, "causal": scores.causal}
    if scores.hidden is not None:
        attrs["hidden"] = scores.hidden
    _emit(graph, op, [q, k, v], heads, mask, attrs)


def _through_reshape(graph: DnnlGraph, value: int) -> int:
    """Before a reshape between [B, H, S, T] and [B*H, S, T], if there is one."""
    op = graph.made_by(value, "reshape")
    if op is None:
        return value
    before, after = graph.shape(op.inputs[0]), graph.shape(op.out)
    if {len(before), len(after)} == {3, 4} and before[-2:] == after[-2:]:
        return op.inputs[0]
    return value


def _scores(graph: DnnlGraph, value: int, shape: tuple[Dim, ...]) -> _Scores | None:
    """Walk up from the softmax to the product ``q @ transpose(k)``, collecting scale and masks."""
    scale, masks, causal = 1.0, list[_Mask](), False
    hidden: float | None = None
    heads: tuple[Dim, Dim] | None = None
    while True:
        if graph.rank(value) == 4:
            heads = graph.shape(value)[0], graph.shape(value)[1]
        op = graph.producer.get(value)
        if op is None or op.post or graph.uses(value) != 1:
            return None
        if op.kind == "matmul":
            if op.attrs["transpose_a"] or not op.attrs["transpose_b"] or len(op.inputs) != 2:
                return None
            return _Scores(op, scale, masks, causal, heads, hidden)
        if op.kind == "reshape":
            inner = _through_reshape(graph, value)
            if inner == value:
                return None
            value = inner
        elif op.kind == "eltwise" and op.attrs["alg"] == "linear":
            if hidden is not None and op.attrs["beta"] != 0:
                return None
            scale *= op.attrs["alpha"]  # softmax does not see the shift
            value = op.inputs[0]
        elif op.kind == "binary" and op.attrs["alg"] == "add" and hidden is None:
            found = next((v for v in op.inputs if _leads_to_product(graph, v)), None)
            if found is None or graph.shape(found) != graph.shape(op.out):
                return None
            mask = op.inputs[1 - op.inputs.index(found)]
            if _is_causal(graph.constants.get(mask), shape):
                causal = True
            else:
                masks.append(_Mask(mask, graph.rank(op.out), scale))
            value = found
        elif op.kind == "where" and hidden is None:
            step = _where(graph, op, shape)
            if step is None:
                return None
            value, extra, lower, hidden = step
            if hidden is not None and (scale != 1 or masks or causal):
                return None
            causal = causal or lower
            masks += [_Mask(mask, graph.rank(op.out), scale) for mask in extra]
        else:
            return None


def _leads_to_product(graph: DnnlGraph, value: int, depth: int = 6) -> bool:
    """True when scale, masks and reshapes alone lie between a value and a matrix product."""
    op = graph.producer.get(value)
    if op is None or depth == 0 or graph.uses(value) != 1:
        return False
    if op.kind == "matmul":
        return bool(op.attrs["transpose_b"])
    if op.kind in ("reshape", "where", "binary") or (
        op.kind == "eltwise" and op.attrs["alg"] == "linear"
    ):
        return any(_leads_to_product(graph, v, depth - 1) for v in op.inputs)
    return False


def _where(
    graph: DnnlGraph, op: DnnlOp, shape: tuple[Dim, ...]
) -> tuple[int, list[int], bool, float | None] | None:
    """``where(keep, scores, very negative)`` or its mirror image: scores, masks, causal?, hidden"""
    condition, yes, no = op.inputs
    for scores, fill, kept in ((yes, no, True), (no, yes, False)):
        array = graph.constants.get(fill)
        if array is None or array.size == 0 or graph.shape(scores) != graph.shape(op.out):
            continue
        number = float(array.flat[0])
        if number > _CHOSEN or not (array == array.flat[0]).all():
            continue
        hidden = number if number > _MASKED else None
        number = 1.0 if hidden is not None else min(number, _REPLACES)
        known = graph.constants.get(condition)
        if known is not None:
            keep = known if kept else ~known
            mask = np.where(keep, 0, number).astype(np.float32)
            if _is_causal(mask, shape):
                return scores, [], True, None
            return scores, [graph.constant(mask)], False, hidden
        rank = graph.rank(condition)
        zero = graph.constant(np.zeros((1,) * rank, np.float32))
        filled = graph.constant(np.full((1,) * rank, number, np.float32))
        sides = [zero, filled] if kept else [filled, zero]
        mask_value = graph.emit("where", [condition, *sides], graph.shape(condition))
        return scores, [mask_value], False, hidden
    return None


def _is_causal(mask: Array | None, shape: tuple[Dim, ...]) -> bool:
    """True when a constant mask lets position s see what is not after it (bottom-right aligned)."""
    s, t = shape[-2:]
    if mask is None or not isinstance(s, int) or not isinstance(t, int) or not 1 < s <= t:
        return False
    if mask.shape[-2:] != (s, t) or mask.size != s * t:
        return False
    square = mask.reshape(s, t)
    seen = np.tri(s, t, t - s, dtype=bool)
    return bool((square[seen] == 0).all() and (square[~seen] <= _MASKED).all())


def _heads(
    graph: DnnlGraph, heads: tuple[Dim, Dim] | None, values: tuple[int, int, int]
) -> tuple[Dim, Dim] | None:
    """B and H, when q, k and v agree on them: `heads` unless all scores were [B*H, S, T]."""
    batches = {graph.shape(v)[:-2] for v in values}
    if len(batches) != 1:
        return None
    (batch,) = batches
    if len(batch) == 2:
        return (batch[0], batch[1]) if heads in (None, batch) else None
    return (heads or (1, batch[0])) if len(batch) == 1 else None


def _unscaled(graph: DnnlGraph, value: int) -> tuple[int, float]:
    """A value without the factor that was multiplied into it alone, and the factor.

    Moves may lie between: exporters scale queries before or after they split the heads.
    """
    x, factor, shift = peel_linear(graph, value)
    if shift != 0:
        return value, 1.0
    if x != value:
        return x, factor
    op = graph.made_by(value, "reshape") or graph.made_by(value, "transpose")
    if op is None:
        return value, 1.0
    inner, factor = _unscaled(graph, op.inputs[0])
    if inner != op.inputs[0]:
        graph.replace(op.inputs[0], inner)
    return value, factor


def _one_mask(graph: DnnlGraph, masks: list[int], shape: tuple[Dim, ...]) -> int | None:
    """All masks added up."""
    total: int | None = None
    for mask in masks:
        if total is None:
            total = mask
            continue
        joint = broadcast_shape(graph.shape(total), graph.shape(mask)) or shape
        total = graph.emit("binary", [total, mask], joint, alg="add")
    return total


def _wide(graph: DnnlGraph, value: int, heads: tuple[Dim, Dim]) -> int:
    """A [B*H, S, D] value as [B, H, S, D]."""
    shape = graph.shape(value)
    if len(shape) == 4:
        return value
    wide = (*heads, *shape[-2:])
    op = graph.made_by(value, "reshape", alone=False)
    if op is not None and graph.shape(op.inputs[0]) == wide:
        return op.inputs[0]
    return graph.emit("reshape", [value], wide)


def _wide_mask(graph: DnnlGraph, mask: _Mask, heads: tuple[Dim, Dim]) -> int:
    """A mask as it is added to the scaled product, so that it broadcasts to [B, H, S, T]."""
    value = mask.value
    if mask.factor != 1:
        value = graph.emit(
            "eltwise", [value], graph.shape(value), alg="linear", alpha=mask.factor, beta=0.0
        )
    if mask.rank == 4 or graph.rank(value) < 3:
        return value
    first, *rest = graph.shape(value)
    return graph.emit("reshape", [value], [*((1, 1) if first == 1 else heads), *rest])


def _emit(
    graph: DnnlGraph,
    op: DnnlOp,
    values: list[int],
    heads: tuple[Dim, Dim],
    mask: int | None,
    attrs: Mapping[str, Any],
) -> None:
    """The op, in [B, S, H, D] when q, k and v come from there, and its way back to `op`'s shape."""
    q, k, v = (_wide(graph, value, heads) for value in values)
    extra = [] if mask is None else [mask]
    inner = [_heads_moved(graph, value) for value in (q, k, v)]
    b, h, s, _ = graph.shape(q)
    e = graph.shape(v)[3]
    moved = [value for value in inner if value is not None]
    if len(moved) == 3:
        y = graph.emit("attention", [*moved, *extra], [b, s, h, e], layout="bshd", **attrs)
        if graph.rank(op.out) == 4:
            graph.morph(op, "transpose", [y], {"axes": list(_HEADS_FIRST)})
            return
        y = graph.emit("transpose", [y], [b, h, s, e], axes=list(_HEADS_FIRST))
    else:
        y = graph.emit("attention", [q, k, v, *extra], [b, h, s, e], layout="bhsd", **attrs)
    graph.morph(op, "reshape", [y])


def _heads_moved(graph: DnnlGraph, value: int) -> int | None:
    """What a transpose from [B, S, H, D] to [B, H, S, D] reads."""
    op = graph.made_by(value, "transpose", alone=False)
    return op.inputs[0] if op is not None and op.attrs["axes"] == _HEADS_FIRST else None
