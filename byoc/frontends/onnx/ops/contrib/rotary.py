"""Rotary position embedding: pairs of elements, turned by an angle that grows with the position.

    (a, b) → (a · cos - b · sin, b · cos + a · sin)

The pairs lie half a head apart, or beside each other (`interleaved`). Source: Su et al. 2021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.contrib.signature import taking

__all__ = ["ROTARY", "angles_at", "rotated"]

op = relax.op


def angles_at(c: OnnxContext, places: Any, *caches: Any) -> list[Any]:
    """Rows of caches [positions, angles], as [batch, sequence, 1, angles].

    Args:
        c: The operator's context.
        places: The positions [batch, sequence].
        *caches: Cosines, sines.
    """
    rows = [c.emit(op.take(cache, places, axis=0, mode="fast")) for cache in caches]
    return [c.emit(op.expand_dims(row, 2)) for row in rows]


def rotated(c: OnnxContext, data: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """The tensor with the first elements of its last axis turned, two for each angle.

    Args:
        c: The operator's context.
        data: [batch, sequence, heads, size].
        cos: Cosines that broadcast to [batch, sequence, heads, angles].
        sin: Sines.
        interleaved: True where the pairs lie beside each other.

    Raises:
        RefusedError: There are more pairs of angles than the tensor has.
    """
    size, half = (int(v.ty.shape.values[-1]) for v in (data, cos))
    if 2 * half > size:
        raise RefusedError(f"it turns {2 * half} elements of heads of {size}")

    def part(begin: int, end: int, step: int = 1) -> Any:
        return c.emit(op.strided_slice(data, [3], [begin], [end], [step]))

    if interleaved:
        a, b = part(0, 2 * half, 2), part(1, 2 * half, 2)
    else:
        a, b = part(0, half), part(half, 2 * half)

    def times(x: Any, y: Any) -> Any:
        return c.emit(op.multiply(x, y))

    turned = [
        c.emit(op.subtract(times(a, cos), times(b, sin))),
        c.emit(op.add(times(b, cos), times(a, sin))),
    ]
    if interleaved:
        pairs = c.emit(op.stack(turned, 4))
        turned = [c.emit(op.reshape(pairs, [*data.ty.shape.values[:3], 2 * half]))]
    rest = [part(2 * half, size)] if 2 * half < size else []
    parts = [*turned, *rest]
    return parts[0] if len(parts) == 1 else c.emit(op.concat(parts, 3))


def microsoft_rotary(c: OnnxContext) -> Any:
    """RotaryEmbedding 1 of ONNX Runtime: positions of every token, or of the first one."""
    places, cos, sin = c[1], c[2], c[3]
    _check_caches(cos, sin, 2)
    if places.ty.ndim == 1:
        length = c[0].ty.shape.values[-2]
        steps = c.emit(op.arange(length, dtype="int64"))
        places = c.emit(op.expand_dims(c.emit(op.add(steps, places)), 0))
    elif places.ty.ndim != 2:
        raise RefusedError(f"its position_ids have {places.ty.ndim} dimensions; legal are 1 and 2")
    heads, turned = int(c.attrs.get("num_heads", 0)), int(c.attrs.get("rotary_embedding_dim", 0))
    if turned and not heads:
        raise RefusedError("it has a rotary_embedding_dim, but no num_heads")
    width = 2 * int(cos.ty.shape.values[-1])
    cos, sin = angles_at(c, places, cos, sin)
    return _apply(c, cos, sin, heads, turned or width, not turned)


def rotary(c: OnnxContext) -> Any:
    """RotaryEmbedding 23: caches by position, or for every token where there are no positions."""
    cos, sin, places = c[1], c[2], c[3]
    _check_caches(cos, sin, 3 if places is None else 2)
    if places is None:
        cos, sin = (c.emit(op.expand_dims(v, 2)) for v in (cos, sin))
    else:
        cos, sin = angles_at(c, places, cos, sin)
    heads, turned = int(c.attrs.get("num_heads", 0)), int(c.attrs.get("rotary_embedding_dim", 0))
    if c[0].ty.ndim == 3 and not heads:
        raise RefusedError("its input has 3 dimensions, but there is no num_heads")
    return _apply(c, cos, sin, heads, turned or 2 * int(cos.ty.shape.values[-1]), False)


def _check_caches(cos: Any, sin: Any, rank: int) -> None:
    if cos.ty.ndim != rank or sin.ty.ndim != rank:
        raise RefusedError(
            f"its caches have {cos.ty.ndim} and {sin.ty.ndim} dimensions; legal are {rank}"
        )


def _apply(c: OnnxContext, cos: Any, sin: Any, heads: int, turned: int, whole: bool) -> Any:
    """Turn [batch, sequence, heads · size], or [batch, heads, sequence, size]."""
    data, interleaved = c[0], bool(c.attrs.get("interleaved", 0))
    angles = cos.ty.shape.values[-1]
    if turned != 2 * int(angles):
        raise RefusedError(f"it turns {turned} elements of a head by {int(angles)} angles")
    if data.ty.ndim == 4:
        moved = c.emit(op.permute_dims(data, [0, 2, 1, 3]))
        return op.permute_dims(rotated(c, moved, cos, sin, interleaved), [0, 2, 1, 3])
    if data.ty.ndim != 3:
        raise RefusedError(f"its input has {data.ty.ndim} dimensions; legal are 3 and 4")
    batch, length, width = data.ty.shape.values
    if not is_int(width):
        raise ValueError("the last dimension of its input is symbolic")
    size = int(width) // heads if heads else turned
    if whole and heads and size != turned:
        raise RefusedError(f"heads of {size} elements are turned by {int(angles)} angles")
    if int(width) % size:
        raise RefusedError(f"{int(width)} elements are no whole number of heads of {size}")
    wide = c.emit(op.reshape(data, [batch, length, int(width) // size, size]))
    return op.reshape(rotated(c, wide, cos, sin, interleaved), [batch, length, int(width)])


ROTARY: Mapping[tuple[str, str], Converter] = {
    ("", "RotaryEmbedding"): taking(
        rotary,
        "X cos_cache sin_cache position_ids?",
        ("interleaved", "num_heads", "rotary_embedding_dim"),
    ),
    ("com.microsoft", "RotaryEmbedding"): taking(
        microsoft_rotary,
        "input position_ids cos_cache sin_cache",
        ("interleaved", "num_heads", "rotary_embedding_dim"),
        {"is_packed_batching": 0, "scale": 1.0},
    ),
}
"""(domain, operator) → converter."""
