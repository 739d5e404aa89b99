"""Splits and concatenations of many tensors, as trees of small kernels.

In: ``split(x, 300)`` and ``concat(300 tensors)``. Out: the same by groups::

    concat(t0 … t299)   →   concat(concat(t0 … t15), …, concat(t288 … t299))
    split(x, 300)       →   split(x, 19 pieces), each of them split into up to 16

A kernel has an argument for each tensor, and TVM's concatenation asks at each element for each of
them whether it is meant: the time to compile grows by the square of their number, and that of a run
with it. Concatenations of such a tree stay kernels of their own: fused, they would be one again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm import relax, tirx, topi

__all__ = ["MANY_PARTS"]

_MANY = 48
_GROUP = 16

_OPAQUE = 8
"""TVM's kind of a kernel that is fused with nothing."""


def _emit_concat(builder: Any, call: Any) -> Any:
    """A concatenation of many tensors; None for one of few."""
    parts, axis = call.args[0], call.attrs.axis
    count = len(parts.ty.fields)
    if count <= _MANY or axis is None:
        return None
    tensors = [
        parts.fields[i] if isinstance(parts, relax.Tuple) else relax.TupleGetItem(parts, i)
        for i in range(count)
    ]
    while len(tensors) > 1:
        tensors = [
            _concatenated(builder, group, int(axis)) if len(group) > 1 else group[0]
            for group in _groups(tensors)
        ]
    return tensors[0]


def _concatenated(builder: Any, tensors: Sequence[Any], axis: int) -> Any:
    return builder.emit(
        builder.call_te(
            lambda *inputs: topi.concatenate(inputs, axis),
            *tensors,
            primfunc_name_hint="concatenate",
            primfunc_attrs={"op_pattern": _OPAQUE},
        )
    )


def _emit_split(builder: Any, call: Any) -> Any:
    """A split into many tensors; None for one into few, of symbolic lengths or of no elements."""
    data, count = call.args[0], len(call.ty.fields)
    shape = getattr(data.ty, "shape", None)
    if count <= _MANY or not isinstance(shape, relax.ShapeExpr):
        return None
    axis = int(call.attrs.axis) % len(shape.values)
    sizes = [field.shape.values[axis] for field in call.ty.fields]
    if not all(isinstance(size, tirx.IntImm) and int(size) for size in sizes):
        return None
    return relax.Tuple(_split(builder, data, axis, [int(size) for size in sizes]))


def _split(builder: Any, data: Any, axis: int, sizes: list[int]) -> list[Any]:
    """Cut a tensor into pieces of some lengths, at most `_GROUP` at once."""
    if len(sizes) <= _GROUP:
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes) - 1)]
        if not ends:
            return [data]
        parts = builder.emit(
            builder.call_te(topi.split, data, ends, axis, primfunc_name_hint="split")
        )
        return [relax.TupleGetItem(parts, i) for i in range(len(sizes))]
    width = _GROUP
    while -(-len(sizes) // width) > _GROUP:
        width *= _GROUP
    groups = [sizes[i : i + width] for i in range(0, len(sizes), width)]
    pieces = _split(builder, data, axis, [sum(group) for group in groups])
    return [
        part
        for piece, group in zip(pieces, groups, strict=True)
        for part in _split(builder, builder.emit(piece), axis, group)
    ]


def _groups(tensors: Sequence[Any]) -> list[Sequence[Any]]:
    return [tensors[i : i + _GROUP] for i in range(0, len(tensors), _GROUP)]


MANY_PARTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "relax.concat": _emit_concat,
    "relax.split": _emit_split,
}
"""Op → what takes its place, or None where it is small."""
