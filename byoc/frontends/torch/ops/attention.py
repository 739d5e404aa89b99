"""Scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext, TrainingError
from byoc.ir.arrays import to_numpy

__all__ = ["ATTENTION"]

R = relax.op


def attention(
    c: TorchContext,
    /,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_mask: Any = None,
) -> Any:
    """softmax(Q · Kᵀ · scale + mask) · V; a row whose mask hides all is 0, as in torch."""
    if dropout_p:
        raise TrainingError("attention with dropout is random; call .eval() on the model")
    if enable_gqa:
        heads = c.static(c.dims(query)[-3], "the number of heads")
        key, value = (_repeat_heads(c, t, heads) for t in (key, value))
    dtype = str(query.ty.dtype)
    depth = c.dims(query)[-1]
    factor = scale if scale is not None else 1 / math.sqrt(c.static(depth, "the size of a head"))
    mask, shown = attn_mask, None
    if is_causal:
        mask = c.const(_causal(c, query, key), "bool")
    if mask is not None:
        mask, shown = _additive(c, mask, dtype)
    result = None
    if shown is not None:
        result = _whole(c, query, key, value, mask, shown, factor)
    if result is None:
        result = _spelled(c, query, key, value, mask, shown, factor)
    return (result, None) if isinstance(c.meta, (tuple, list)) else result


def _repeat_heads(c: TorchContext, x: Any, heads: int) -> Any:
    own = c.static(c.dims(x)[-3], "the number of heads")
    return x if own == heads else c.emit(R.repeat(x, heads // own, axis=x.ty.ndim - 3))


def _causal(c: TorchContext, query: Any, key: Any) -> Any:
    rows, columns = (c.static(c.dims(t)[-2], "the length under a causal mask")
                     for t in (query, key))  # fmt: skip
    return np.tril(np.ones((rows, columns), bool))


def _additive(c: TorchContext, mask: Any, dtype: str) -> tuple[Any, Any]:
    """The mask as a term of the scores, and which rows show anything (None: all do)."""
    if isinstance(mask, GenericConst):
        array = to_numpy(mask.value)
        kept = array if array.dtype == np.bool_ else array > -np.inf
        term = np.where(array, 0, -np.inf) if array.dtype == np.bool_ else array
        if kept.any(axis=-1).all():
            return c.const(term, dtype), None
    low = c.const(-np.inf, dtype)
    if str(mask.ty.dtype) == "bool":
        kept = c.emit(R.max(c.emit(R.astype(mask, "int32")), [-1], keepdims=True))
        shown = c.emit(R.greater(kept, c.const(0, "int32")))
        return c.emit(R.where(mask, c.const(0, dtype), low)), shown
    shown = c.emit(R.greater(c.emit(R.max(mask, [-1], keepdims=True)), low))
    return mask, shown


def _spelled(
    c: TorchContext, query: Any, key: Any, value: Any, mask: Any, shown: Any, factor: float
) -> Any:
    dtype = str(query.ty.dtype)
    axes = [*range(key.ty.ndim - 2), key.ty.ndim - 1, key.ty.ndim - 2]
    scores = c.emit(R.matmul(query, c.emit(R.permute_dims(key, axes))))
    scores = c.emit(R.multiply(scores, c.const(factor, dtype)))
    if mask is not None:
        scores = c.emit(R.add(scores, mask))
    weights = c.emit(R.nn.softmax(scores, -1))
    result = c.emit(R.matmul(weights, value))
    return result if shown is None else R.where(shown, result, c.const(0, dtype))


def _whole(
    c: TorchContext, query: Any, key: Any, value: Any, mask: Any, shown: Any, factor: float
) -> Any:
    """As one op on [B,S,H,D]; None where its rules are not met."""
    dtype = str(query.ty.dtype)
    if dtype != "float32" or any(t.ty.ndim != 4 for t in (query, key, value)):
        return None
    q, k, v = c.dims(query), c.dims(key), c.dims(value)
    scores = [q[0], q[1], q[2], k[2]]
    if not all(map(_same, [*q[:2], *k[:2]], [*k[:2], *v[:2]])):
        return None
    full = [1] * (4 - mask.ty.ndim) + c.dims(mask)
    fits = [_same(have, 1) or _same(have, want) for have, want in zip(full, scores, strict=True)]
    if not all(fits) or not _same(full[3], scores[3]):
        return None
    swap = [0, 2, 1, 3]
    parts = [c.emit(R.permute_dims(t, swap)) for t in (query, key, value)]
    if mask.ty.ndim != 4:
        mask = c.emit(R.reshape(mask, full))
    seen = c.emit(R.permute_dims(c.emit(R.reshape(shown, [*full[:3], 1])), swap))
    result = c.emit(R.nn.attention(*parts, bias=mask, scale=tvm.tirx.FloatImm("float32", factor)))
    result = c.emit(R.where(seen, result, c.const(0, dtype)))
    return R.permute_dims(result, swap)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return bool(tvm.ir.structural_equal(a, b))


ATTENTION: Mapping[str, Converter] = {
    "_scaled_dot_product_attention_math.default": attention,
    "_scaled_dot_product_flash_attention_for_cpu.default": attention,
    "scaled_dot_product_attention.default": attention,
}
"""ATen operator, as "name.overload" → converter."""
