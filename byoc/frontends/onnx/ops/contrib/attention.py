"""Attention as ONNX Runtime's operators say it, spelled out; normalisation makes it one op.

    softmax(scale · Q Kᵀ + bias) V        Q, K, V [batch, heads, sequence, size]

Masks become numbers that are added, and whatever else differs between the operators is brought
into this form: projections (Attention), past keys, heads that share keys (GroupQueryAttention).
Where S queries follow P past keys, query s sees the keys up to P + s (`unidirectional`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import fit
from byoc.frontends.helpers import const, dtype_of, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.signature import taking

__all__ = ["ATTENTION", "attended", "heads_apart", "heads_together", "hidden_number"]

op = relax.op

_HEADS = [0, 2, 1, 3]


def hidden_number(like: Any) -> float:
    """What is added to a score that nobody may see.

    Args:
        like: A tensor of the type of the scores.
    """
    return -1e30 if dtype_of(like) in ("float32", "float64", "bfloat16") else -6e4


def heads_apart(c: OnnxContext, data: Any, heads: int, what: str) -> Any:
    """[batch, sequence, heads · size] as [batch, heads, sequence, size].

    Args:
        c: The operator's context.
        data: The tensor.
        heads: How many heads it holds.
        what: What the operator calls it, for messages.

    Raises:
        RefusedError: It has other dimensions.
    """
    if data.ty.ndim != 3 or not is_int(data.ty.shape.values[2]):
        raise RefusedError(f"{what} must be [batch, sequence, hidden], hidden known")
    batch, length, width = data.ty.shape.values
    if int(width) % heads:
        raise RefusedError(f"{what} has {int(width)} elements for {heads} heads")
    wide = c.emit(op.reshape(data, [batch, length, heads, int(width) // heads]))
    return c.emit(op.permute_dims(wide, _HEADS))


def heads_together(c: OnnxContext, data: Any) -> Any:
    """[batch, heads, sequence, size] as [batch, sequence, heads · size].

    Args:
        c: The operator's context.
        data: The tensor.
    """
    batch, heads, length, size = data.ty.shape.values
    moved = c.emit(op.permute_dims(data, _HEADS))
    return op.reshape(moved, [batch, length, int(heads) * int(size)])


def attended(
    c: OnnxContext,
    qkv: Sequence[Any],
    scale: float | None,
    masks: Sequence[Any],
    softcap: float = 0.0,
) -> Any:
    """Scaled dot-product attention, heads apart.

    Args:
        c: The operator's context.
        qkv: Queries, keys and values.
        scale: The factor of the scores; None or 0 for 1/√size.
        masks: What is added to the scores; those of None are not there.
        softcap: Where the scores are bent to, by tanh; 0 for not at all.
    """
    q, k, v = qkv
    factor = scale or 1 / math.sqrt(int(q.ty.shape.values[3]))
    scores = c.emit(op.matmul(q, c.emit(op.permute_dims(k, [0, 1, 3, 2]))))
    scores = c.emit(op.multiply(scores, scalar_like(factor, q)))
    if softcap:
        bent = c.emit(op.tanh(c.emit(op.divide(scores, scalar_like(softcap, q)))))
        scores = c.emit(op.multiply(bent, scalar_like(softcap, q)))
    for mask in masks:
        scores = scores if mask is None else c.emit(op.add(scores, mask))
    return c.emit(op.matmul(c.emit(op.nn.softmax(scores, -1)), v))


def _triangle(c: OnnxContext, like: Any, queries: Any, keys: Any) -> Any:
    """What hides the keys after each query, the last query being at the last key."""
    low = hidden_number(like)
    if is_int(queries) and is_int(keys):
        s, t = int(queries), int(keys)
        seen = np.tri(s, t, t - s, dtype=bool)
        return const(np.where(seen, 0, low), dtype_of(like))
    rows = c.emit(op.arange(queries, dtype="int64"))
    rows = c.emit(op.add(rows, _number(c, keys - queries)))
    columns = c.emit(op.arange(keys, dtype="int64"))
    later = c.emit(op.greater(columns, c.emit(op.expand_dims(rows, 1))))
    return c.emit(op.where(later, scalar_like(low, like), scalar_like(0, like)))


def _number(c: OnnxContext, value: Any) -> Any:
    """An expression over dimensions as a tensor [1]."""
    return c.emit(op.shape_to_tensor(c.emit(relax.ShapeExpr([value]))))


def _padding(c: OnnxContext, mask: Any, like: Any, queries: Any, keys: Any) -> Any:
    """A mask input as what is added to the scores: numbers of words, 2-D or 3-D of 0 and 1."""
    if mask is None:
        return None
    low = scalar_like(c.attrs.get("mask_filter_value", -10000.0), like)
    zero = scalar_like(0, like)
    rank = mask.ty.ndim
    if rank in (2, 3):
        seen = c.emit(op.greater(mask, scalar_like(0, mask)))
        hidden = c.emit(op.where(seen, zero, low))
        dims = mask.ty.shape.values
        return c.emit(op.reshape(hidden, [dims[0], 1, *([1] if rank == 2 else []), *dims[1:]]))
    if rank != 1:
        raise ValueError(f"masks of {rank} dimensions are not supported")
    batch, count = like.ty.shape.values[0], mask.ty.shape.values[0]
    if not (is_int(batch) and is_int(count)):
        same = batch.same_as(count) if not is_int(batch) else False
        parts = 1 if same else 0
    else:
        parts = next((n for n in (1, 2) if int(count) == n * int(batch)), 0)
    if not parts:
        raise ValueError(
            f"a mask of {count} numbers for {batch} rows is not supported (one or two a row are)"
        )
    columns = c.emit(op.arange(keys, dtype=dtype_of(mask)))

    def bound(part: int) -> Any:
        rows = (
            mask
            if parts == 1
            else op.strided_slice(mask, [0], [part * batch], [part * batch + batch])
        )
        return c.emit(op.expand_dims(c.emit(rows), 1))

    seen = c.emit(op.less(columns, bound(0)))
    if parts == 2:
        seen = c.emit(op.logical_and(seen, c.emit(op.greater_equal(columns, bound(1)))))
    hidden = c.emit(op.where(seen, zero, low))
    return c.emit(op.reshape(hidden, [batch, 1, 1, keys]))


def attention(c: OnnxContext) -> Any:
    """Attention 1: projections of one input; `present` holds all keys and values."""
    data, weight = c[0], c[1]
    heads = _heads(c, "num_heads")
    width = int(weight.ty.shape.values[1])
    sizes = [int(s) for s in c.attrs.get("qkv_hidden_sizes") or [width // 3] * 3]
    if len(sizes) != 3 or sum(sizes) != width or sizes[0] != sizes[1]:
        raise RefusedError(f"its hidden sizes {sizes} do not make up {width} columns")
    all_three = c.emit(op.matmul(data, weight))
    if c[2] is not None:
        all_three = c.emit(op.add(all_three, c[2]))
    whole = c.emit(op.split(all_three, [sizes[0], sizes[0] + sizes[1]], 2))
    names = ("query", "key", "value")
    q, k, v = (
        heads_apart(c, c.emit(relax.TupleGetItem(whole, i)), heads, name)
        for i, name in enumerate(names)
    )
    present = None
    if c[4] is not None:
        pair = [
            c.emit(op.squeeze(c.emit(op.strided_slice(c[4], [0], [i], [i + 1])), [0]))
            for i in range(2)
        ]
        k, v = (c.emit(op.concat([old, new], 2)) for old, new in zip(pair, (k, v), strict=True))
    if c.outputs > 1:
        present = op.stack([k, v], 0)
    return [_masked(c, (q, k, v), c[3], c[5]), present][: c.outputs]


def _heads(c: OnnxContext, name: str) -> int:
    heads = int(c.attrs.get(name, 0))
    if heads < 1:
        raise RefusedError(f"its attribute {name!r} is {c.attrs.get(name, 'missing')}")
    return heads


def _masked(c: OnnxContext, qkv: Sequence[Any], mask: Any, bias: Any) -> Any:
    """Attention under a mask input and an added bias, heads together."""
    q, k, _ = qkv
    queries, keys = q.ty.shape.values[2], k.ty.shape.values[2]
    causal = _triangle(c, q, queries, keys) if c.attrs.get("unidirectional", 0) else None
    masks = [bias, _padding(c, mask, q, queries, keys), causal]
    return heads_together(c, attended(c, qkv, c.attrs.get("scale"), masks))


def multi_head_attention(c: OnnxContext) -> Any:
    """MultiHeadAttention 1: keys and values apart from the queries, or of a past."""
    heads = _heads(c, "num_heads")
    query, key, value = c.inputs[:3]
    if key is None or value is None or query.ty.ndim != 3:
        raise ValueError("queries, keys and values packed into one tensor are not supported")
    if c[3] is not None:
        query, key, value = _biased(c, (query, key, value), c[3])
    q = heads_apart(c, query, heads, "query")
    if key.ty.ndim == 4:
        k, v = key, value  # another sequence's, heads apart already
    else:
        k, v = heads_apart(c, key, heads, "key"), heads_apart(c, value, heads, "value")
    if (c[6] is None) != (c[7] is None):
        raise RefusedError("it has one of past_key and past_value")
    if c[6] is not None:
        k, v = c.emit(op.concat([c[6], k], 2)), c.emit(op.concat([c[7], v], 2))
    return [_masked(c, (q, k, v), c[4], c[5]), k, v][: c.outputs]


def _biased(c: OnnxContext, values: Sequence[Any], bias: Any) -> list[Any]:
    """Queries, keys and values plus their parts of a bias."""
    found, begin = [], 0
    for value in values:
        if value.ty.ndim != 3:
            raise ValueError("a bias beside keys whose heads are apart is not supported")
        end = begin + int(value.ty.shape.values[2])
        part = c.emit(op.strided_slice(bias, [0], [begin], [end]))
        found.append(c.emit(op.add(value, part)))
        begin = end
    if begin != int(bias.ty.shape.values[0]):
        raise RefusedError(f"its bias has {int(bias.ty.shape.values[0])} elements, not {begin}")
    return found


def same_length(c: OnnxContext) -> Any:
    """The values of ONNX's Attention, held to as many rows as there are keys."""
    keys, values = (v.ty.shape.values[v.ty.ndim - 2] for v in c.inputs)
    if is_int(keys) and is_int(values) and int(keys) != int(values):
        raise RefusedError(
            f"it is given {int(keys)} keys, {int(values)} values; Attention takes as many of both"
        )
    return fit(c.builder, c[1], {c[1].ty.ndim - 2: keys})


ATTENTION: Mapping[tuple[str, str], Converter] = {
    ("byoc", "SameLength"): same_length,
    ("com.microsoft", "Attention"): taking(
        attention,
        "input weights bias? mask_index? past? attention_bias? !past_sequence_length",
        ("mask_filter_value", "num_heads", "qkv_hidden_sizes", "scale", "unidirectional"),
        {"do_rotary": 0, "past_present_share_buffer": 0, "rotary_embedding_dim": 0},
        outputs=2,
    ),
    ("com.microsoft", "MultiHeadAttention"): taking(
        multi_head_attention,
        "query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? "
        "!past_sequence_length !cache_indirection",
        ("mask_filter_value", "num_heads", "scale", "unidirectional"),
        outputs=3,
    ),
}
"""(domain, operator) → converter."""
