"""Ops that move data: reshape, transpose, slice, pad, concat, gather."""

from __future__ import annotations

from typing import Any

from byoc.kit.onnx_export.context import Export, ExportContext, Unsupported
from byoc.segment import Node

__all__ = ["EXPORTS"]

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1


def _reshape(c: ExportContext, node: Node, x: list[str]) -> str:
    """Any op that keeps the elements and their order: the output's type says it all."""
    shape = c.type_of(node.outputs[0]).shape
    unknown = [d for d in shape if not isinstance(d, int)]
    if len(unknown) > 1:
        raise Unsupported(f"reshape to {shape} has more than one symbolic dimension")
    if unknown and 0 in shape:
        raise Unsupported(f"reshape to {shape} has a symbolic and an empty dimension")
    target = [d if isinstance(d, int) else -1 for d in shape]
    return c.one("Reshape", x[0], c.constant(target), allowzero=1 if 0 in target else None)


def _transpose(c: ExportContext, node: Node, x: list[str]) -> str:
    axes = node.attrs.get("axes")
    rank = c.rank(node.inputs[0])
    perm = range(rank)[::-1] if axes is None else [int(a) % rank for a in axes]
    return c.one("Transpose", x[0], perm=list(perm))


def _concat(c: ExportContext, node: Node, x: list[str]) -> str:
    axis = node.attrs.get("axis")
    if axis is None:
        raise Unsupported("concat without an axis")
    return c.one("Concat", *x, axis=int(axis))


def _split(c: ExportContext, node: Node, x: list[str]) -> list[str]:
    axis = int(node.attrs["axis"]) % c.rank(node.inputs[0])
    sizes = [c.shape(value, "a part of split")[axis] for value in node.outputs]
    return c.emit("Split", [x[0], c.constant(sizes)], len(sizes), axis=axis)


def _slice(c: ExportContext, node: Node, x: list[str]) -> str:
    fields: dict[str, Any] = {key: node.attrs.get(key) for key in ("begin", "end", "axes")}
    if any(value is None for value in fields.values()):
        raise Unsupported("strided_slice with bounds that are not constant")
    strides = node.attrs.get("strides") or [1] * len(fields["axes"])
    numbers = [*fields["begin"], *fields["end"], *strides]
    if not all(isinstance(n, int) for n in numbers):
        raise Unsupported("strided_slice with symbolic bounds")
    ends = [min(int(end), _INT64_MAX) for end in fields["end"]]
    parts = (fields["begin"], ends, fields["axes"], strides)
    return c.one("Slice", x[0], *(c.constant(part) for part in parts))


def _broadcast(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Expand", x[0], c.constant(c.shape(node.outputs[0], "broadcast_to")))


def _take(c: ExportContext, node: Node, x: list[str]) -> str:
    """Gather counts negative indices from the end; where the op does not, they stay illegal."""
    axis, mode = node.attrs.get("axis"), str(node.attrs.get("mode", "fast"))
    if axis is None:
        raise Unsupported("take without an axis")
    kind, index = c.dtype(node.inputs[1]), x[1]
    if mode == "clip":
        last = c.type_of(node.inputs[0]).shape[int(axis)]
        if not isinstance(last, int) or last == 0:
            raise Unsupported(f"take that clips its indices to an axis of size {last}")
        index = c.one("Clip", index, c.constant(0, kind), c.constant(last - 1, kind))
    elif mode == "fast":
        below = c.one("Less", index, c.constant(0, kind))
        index = c.one("Where", below, c.constant(_INT32_MAX, kind), index)
    elif mode != "wrap":
        raise Unsupported(f"take with mode {mode!r}")
    return c.one("Gather", x[0], index, axis=int(axis))


def _pad(c: ExportContext, node: Node, x: list[str]) -> str:
    mode = str(node.attrs.get("pad_mode", "constant"))
    if mode not in ("constant", "reflect", "edge"):
        raise Unsupported(f"pad mode {mode!r}; ONNX engines share constant, edge, reflect")
    width = [int(w) for w in node.attrs["pad_width"]]
    pads = c.constant([*width[0::2], *width[1::2]])
    if mode != "constant":
        return c.one("Pad", x[0], pads, mode=mode)
    value = c.constant(node.attrs.get("pad_value", 0.0), c.dtype(node.inputs[0]))
    return c.one("Pad", x[0], pads, value, mode=mode)


EXPORTS: dict[str, Export] = {
    "broadcast_to": _broadcast,
    "concat": _concat,
    "expand_dims": _reshape,
    "flatten": _reshape,
    "nn.batch_flatten": _reshape,
    "nn.pad": _pad,
    "permute_dims": _transpose,
    "reshape": _reshape,
    "split": _split,
    "squeeze": _reshape,
    "strided_slice": _slice,
    "take": _take,
}
