"""GroupQueryAttention of ONNX Runtime: decoders' attention over a cache of keys and values.

Several heads of queries share one of keys; they become rows of one product, so no key is repeated.
Row b of the batch has `past_b` keys in the cache; S new ones follow them. The result, `present`,
has as many places as the cache, or as there are keys then::

    past    k0 k1 k2  .  .          past_b = 3, S = 1          place t of present:
    new               n0            present k0 k1 k2 n0 .      new[t - past_b], or past[t]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax, tirx

from byoc.frontends.context import Converter
from byoc.frontends.fitting.dims import hold, proved_equal
from byoc.frontends.helpers import array_of, const, dtype_of, is_const, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.attention import attended, heads_together, hidden_number
from byoc.frontends.onnx.ops.contrib.rotary import angles_at, rotated
from byoc.frontends.onnx.ops.contrib.signature import taking
from byoc.frontends.onnx.ops.helpers import integers_of

__all__ = ["GROUPED_ATTENTION"]

op = relax.op


def grouped_query_attention(c: OnnxContext) -> Any:
    """GroupQueryAttention 1: causal, with rotary embedding, windows and soft caps."""
    heads, shared = (_count(c, name) for name in ("num_heads", "kv_num_heads"))
    if heads % shared:
        raise RefusedError(f"{heads} heads of queries share {shared} of keys")
    q, k, v = _projections(c, heads, shared)
    length = q.ty.shape.values[1]
    total = _total(c)
    past = _past(c, length, total)
    if c.attrs.get("do_rotary", 0):
        q, k = _rotated(c, q, k, past)
    q, k, v = (c.emit(op.permute_dims(x, [0, 2, 1, 3])) for x in (q, k, v))
    if (c[3] is None) != (c[4] is None):
        raise RefusedError("it has one of past_key and past_value")
    k, v = (_present(c, old, new, past, total) for old, new in ((c[3], k), (c[4], v)))
    batch, _, _, size = q.ty.shape.values
    group = heads // shared
    rows = c.emit(op.reshape(q, [batch, shared, group * length, size]))
    masks = [
        _bias(c, c[10], (shared, group), k.ty.shape.values[2]),
        _hidden(c, rows, past, length, k.ty.shape.values[2]),
    ]
    softcap = float(c.attrs.get("softcap", 0.0))
    result = attended(c, (rows, k, v), c.attrs.get("scale"), masks, softcap)
    apart = c.emit(op.reshape(result, [batch, heads, length, v.ty.shape.values[3]]))
    return [heads_together(c, apart), k, v][: c.outputs]


def _count(c: OnnxContext, name: str) -> int:
    count = int(c.attrs.get(name, 0))
    if count < 1:
        raise RefusedError(f"its attribute {name!r} is {c.attrs.get(name, 'missing')}")
    return count


def _projections(c: OnnxContext, heads: int, shared: int) -> list[Any]:
    """Queries, keys and values [batch, sequence, heads, size], unpacked where they are one."""
    query, key, value = c.inputs[:3]
    if (key is None) != (value is None):
        raise RefusedError("it has one of key and value")
    if query.ty.ndim != 3 or not is_int(query.ty.shape.values[2]):
        raise RefusedError("query must be [batch, sequence, hidden], hidden known")
    batch, length, width = query.ty.shape.values
    counts = (heads, shared, shared) if key is None else (heads,)
    if int(width) % sum(counts):
        raise RefusedError(f"query has {int(width)} elements for {sum(counts)} heads")
    size = int(width) // sum(counts)
    if key is None:
        ends = [heads * size, (heads + shared) * size]
        whole = c.emit(op.split(query, ends, 2))
        query, key, value = (c.emit(relax.TupleGetItem(whole, i)) for i in range(3))
    found = []
    for data, count in zip((query, key, value), (heads, shared, shared), strict=True):
        shape = data.ty.shape.values
        if data.ty.ndim != 3 or not is_int(shape[2]) or int(shape[2]) != count * size:
            raise RefusedError(f"{count} heads of {size} elements do not make up {data.ty}")
        found.append(c.emit(op.reshape(data, [batch, length, count, size])))
    return found


def _total(c: OnnxContext) -> Any:
    """total_sequence_length as a dimension."""
    value = c[6]
    if is_const(value):
        value = const(array_of(value, "total_sequence_length").reshape(-1))
    elif getattr(value.ty, "ndim", None) == 0:
        value = c.emit(op.reshape(value, [1]))
    numbers = integers_of(c, value, "total_sequence_length")
    if len(numbers) != 1:
        raise RefusedError(f"its total_sequence_length has {len(numbers)} elements")
    return numbers[0]


def _past(c: OnnxContext, length: Any, total: Any) -> Any:
    """How many keys each row has in the cache [batch, 1], int64: none at the first prompt."""
    last = c.emit(op.astype(c[5], "int64")) if dtype_of(c[5]) != "int64" else c[5]
    last = c.emit(op.reshape(last, [last.ty.shape.values[0], 1])) if last.ty.ndim == 1 else last
    if is_int(total) and is_int(length):
        if int(total) == int(length):
            return c.emit(op.zeros(last.ty.shape, "int64"))
        return c.emit(op.add(last, const(1 - int(length), np.int64)))
    first = c.emit(op.equal(_number(c, total), _number(c, length)))
    later = c.emit(op.subtract(last, _number(c, length - 1)))
    return c.emit(op.where(first, const(0, np.int64), later))


def _number(c: OnnxContext, value: Any) -> Any:
    """A dimension as a tensor [1]."""
    if is_int(value):
        return const([int(value)], np.int64)
    return c.emit(op.shape_to_tensor(c.emit(relax.ShapeExpr([value]))))


def _rotated(c: OnnxContext, q: Any, k: Any, past: Any) -> tuple[Any, Any]:
    if c[7] is None or c[8] is None:
        raise RefusedError("do_rotary is set, but cos_cache or sin_cache is missing")
    places = c[9]
    if places is None:
        steps = c.emit(op.arange(q.ty.shape.values[1], dtype="int64"))
        places = c.emit(op.add(past, steps))
    cos, sin = angles_at(c, places, c[7], c[8])
    interleaved = bool(c.attrs.get("rotary_interleaved", 0))
    return rotated(c, q, cos, sin, interleaved), rotated(c, k, cos, sin, interleaved)


def _present(c: OnnxContext, old: Any, new: Any, past: Any, total: Any) -> Any:
    """The cache with the new keys behind the old ones of each row."""
    batch, heads, length, size = new.ty.shape.values
    if old is None:
        return new if proved_equal(total, length) else hold(c.builder, new, total == length)
    if old.ty.ndim != 4:
        raise RefusedError(f"its past has {old.ty.ndim} dimensions; legal are 4")
    before = old.ty.shape.values[2]
    places = max(int(total), int(before)) if is_int(total) and is_int(before) else None
    places = tirx.max(total, before) if places is None else places
    if is_int(before) and int(before) == 0 and proved_equal(total, length):
        return new
    both = c.emit(op.concat([old, new], 2))
    steps = c.emit(op.arange(places, dtype="int64"))
    offset = c.emit(op.subtract(steps, past))  # [batch, places]
    inside = c.emit(
        op.logical_and(
            c.emit(op.greater_equal(offset, const(0, np.int64))),
            c.emit(op.less(offset, _number(c, length))),
        )
    )
    moved = c.emit(op.add(offset, _number(c, before)))
    width = before + length
    kept = c.emit(op.minimum(steps, _number(c, width - 1)))
    source = c.emit(op.where(inside, moved, kept))
    source = c.emit(op.reshape(source, [batch, 1, places]))
    rows = c.emit(op.arange(batch * heads, dtype="int64"))
    rows = c.emit(op.multiply(rows, _number(c, width)))
    rows = c.emit(op.reshape(rows, [batch, heads, 1]))
    index = c.emit(op.reshape(c.emit(op.add(rows, source)), [batch * heads * places]))
    flat = c.emit(op.reshape(both, [batch * heads * width, size]))
    chosen = c.emit(op.take(flat, index, axis=0, mode="fast"))
    return c.emit(op.reshape(chosen, [batch, heads, places, size]))


def _bias(c: OnnxContext, bias: Any, heads: tuple[int, int], keys: Any) -> Any:
    """attention_bias with the rows of heads that share keys under each other."""
    if bias is None:
        return None
    if bias.ty.ndim != 4 or not is_int(bias.ty.shape.values[1]):
        raise RefusedError("its attention_bias must be [batch, heads, sequence, keys]")
    batch, count, length, width = bias.ty.shape.values
    if not proved_equal(width, keys):
        raise ValueError("an attention_bias shorter than the cache is not supported")
    shared, group = heads
    if int(count) == 1 and group > 1:
        wide = c.emit(op.broadcast_to(bias, [batch, group, length, width]))
        return c.emit(op.reshape(wide, [batch, 1, group * length, width]))
    if int(count) not in (1, shared * group):
        raise RefusedError(f"its attention_bias has {int(count)} heads, not {shared * group}")
    return (
        bias
        if int(count) == 1
        else c.emit(op.reshape(bias, [batch, shared, group * length, width]))
    )


def _hidden(c: OnnxContext, rows: Any, past: Any, length: Any, keys: Any) -> Any:
    """What hides keys after each query, and those before its window [batch, 1, rows, keys]."""
    count = rows.ty.shape.values[2]
    steps = c.emit(op.arange(count, dtype="int64"))
    if not proved_equal(count, length):
        steps = c.emit(op.mod(steps, _number(c, length)))
    last = c.emit(op.reshape(past, [past.ty.shape.values[0], 1, 1, 1]))
    last = c.emit(op.add(last, c.emit(op.expand_dims(steps, 1))))
    columns = c.emit(op.arange(keys, dtype="int64"))
    hidden = c.emit(op.greater(columns, last))
    window = int(c.attrs.get("local_window_size", -1))
    if window > 0:
        begin = c.emit(op.subtract(last, const(window, np.int64)))
        hidden = c.emit(op.logical_or(hidden, c.emit(op.less_equal(columns, begin))))
    low = scalar_like(hidden_number(rows), rows)
    return c.emit(op.where(hidden, low, scalar_like(0, rows)))


GROUPED_ATTENTION: Mapping[tuple[str, str], Converter] = {
    ("com.microsoft", "GroupQueryAttention"): taking(
        grouped_query_attention,
        "query key? value? past_key? past_value? seqlens_k total_sequence_length cos_cache? "
        "sin_cache? position_ids? attention_bias? !head_sink !k_scale !v_scale !q_norm_weight "
        "!k_norm_weight !query_seqlens",
        ("do_rotary", "kv_num_heads", "local_window_size", "num_heads", "rotary_interleaved",
         "scale", "softcap"),
        {"causal": 1, "k_quant_type": "NONE", "kv_cache_bit_width": 0, "qk_output": 0,
         "sliding_window_cache": 0, "smooth_softmax": (-1, 0), "v_quant_type": "NONE"},
        outputs=3,
    ),
}  # fmt: skip
"""(domain, operator) → converter."""
