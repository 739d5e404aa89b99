"""Ops that move elements: reshape, transpose, slice, pad, concat, split, broadcast, gather.

They cost little, but left outside they would cut a segment in two.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from byoc.dims import canonical
from byoc.segment import Array, Dim, Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import (
    DTYPES,
    MAX_RANK,
    Tensors,
    axis_of,
    check_dtypes,
    check_float,
    check_one_of,
    first,
)
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.layout import transpose
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]


def _check_any(node: Node, tensors: Tensors) -> Reject | None:
    return check_dtypes(node, tensors, (*node.inputs, *node.outputs), DTYPES)


def _lower_reshape(graph: DnnlGraph, node: Node) -> None:
    graph.emit("reshape", node.inputs[:1], out=node.outputs[0])


def _lower_transpose(graph: DnnlGraph, node: Node) -> None:
    rank = graph.rank(node.inputs[0])
    axes = node.attrs.get("axes")
    order = list(range(rank))[::-1] if axes is None else [axis_of(int(a), rank) for a in axes]
    graph.emit("transpose", node.inputs, out=node.outputs[0], axes=order)


def _lower_broadcast(graph: DnnlGraph, node: Node) -> None:
    graph.emit("broadcast", node.inputs[:1], out=node.outputs[0])


# Concatenation and its kin


def _lower_concat(graph: DnnlGraph, node: Node) -> None:
    axis = axis_of(int(node.attrs["axis"] or 0), graph.rank(node.outputs[0]))
    graph.emit("concat", node.inputs, out=node.outputs[0], axis=axis)


def _lower_stack(graph: DnnlGraph, node: Node) -> None:
    out = node.outputs[0]
    axis = axis_of(int(node.attrs["axis"] or 0), graph.rank(out))
    shape = list(graph.shape(out))
    shape[axis] = 1
    dtype = graph.type(out).dtype
    layers = [graph.emit("reshape", [v], shape, dtype) for v in node.inputs]
    graph.emit("concat", layers, out=out, axis=axis)


def _lower_split(graph: DnnlGraph, node: Node) -> None:
    axis = axis_of(int(node.attrs["axis"]), graph.rank(node.inputs[0]))
    if len(node.outputs) == 1:
        graph.emit("reshape", node.inputs, out=node.outputs[0])
        return
    graph.emit("split", node.inputs, out=node.outputs, axis=axis)


def _repeats(node: Node, rank: int) -> list[int]:
    """How often ``tile`` lays out each axis of the output."""
    given = node.attrs["repeats"]
    counts = [int(given)] if isinstance(given, int) else [int(r) for r in given]
    return [1] * (rank - len(counts)) + counts


def _check_tile(node: Node, tensors: Tensors) -> Reject | None:
    rank = len(tensors.type(node.outputs[0]).shape)
    spread = rank + sum(r != 1 for r in _repeats(node, rank))
    if spread > MAX_RANK:
        return Reject(
            f"{node.op}: {spread} dimensions in between, at most {MAX_RANK} are supported"
        )
    return _check_any(node, tensors)


def _lower_tile(graph: DnnlGraph, node: Node) -> None:
    """Each repeated axis ``d`` becomes ``[r, d]``: reshape, broadcast, reshape."""
    out = node.outputs[0]
    rank = graph.rank(out)
    x = graph.shape(node.inputs[0])
    shape = [1] * (rank - len(x)) + list(x)
    _spread(graph, node, [(d, r, True) for d, r in zip(shape, _repeats(node, rank), strict=True)])


def _check_repeat(node: Node, tensors: Tensors) -> Reject | None:
    if node.attrs.get("axis") is None and len(tensors.type(node.inputs[0]).shape) != 1:
        return Reject(f"{node.op}: needs an axis")
    if len(tensors.type(node.inputs[0]).shape) >= MAX_RANK:
        return Reject(f"{node.op}: at most {MAX_RANK - 1} dimensions are supported")
    return _check_any(node, tensors)


def _lower_repeat(graph: DnnlGraph, node: Node) -> None:
    x = graph.shape(node.inputs[0])
    axis = axis_of(int(node.attrs.get("axis") or 0), len(x))
    times = int(node.attrs["repeats"])
    _spread(graph, node, [(d, times if a == axis else 1, False) for a, d in enumerate(x)])


def _spread(graph: DnnlGraph, node: Node, plan: list[tuple[Dim, int, bool]]) -> None:
    """`plan`: per axis its dim, the copies, and whether copies go outside (tile) or inside."""
    thin: list[Dim] = []
    wide: list[Dim] = []
    for dim, times, outside in plan:
        if times == 1:
            thin.append(dim)
            wide.append(dim)
            continue
        thin += [1, dim] if outside else [dim, 1]
        wide += [times, dim] if outside else [dim, times]
    dtype = graph.type(node.inputs[0]).dtype
    small = graph.emit("reshape", node.inputs[:1], thin, dtype)
    large = graph.emit("broadcast", [small], wide, dtype)
    graph.emit("reshape", [large], out=node.outputs[0])


# Slices


def _strides(node: Node) -> list[int]:
    strides = node.attrs.get("strides")
    return [int(s) for s in strides] if strides else [1] * len(node.attrs["axes"])


def _check_slice(node: Node, tensors: Tensors) -> Reject | None:
    for attr in ("axes", "begin", "end"):
        if not all(isinstance(v, int) for v in node.attrs[attr]):
            return Reject(f"{node.op}: {attr} {tuple(node.attrs[attr])} is not static")
    if any(s <= 0 for s in _strides(node)):
        return Reject(f"{node.op}: strides {tuple(_strides(node))} are not all positive")
    shape = tensors.type(node.inputs[0]).shape
    for axis, begin, stride in zip(
        node.attrs["axes"], node.attrs["begin"], _strides(node), strict=True
    ):
        dim = shape[axis_of(int(axis), len(shape))]
        if not isinstance(dim, int) and begin < 0 and stride != 1:
            return Reject(f"{node.op}: begin {begin} with stride {stride} on a symbolic dimension")
    return _check_any(node, tensors)


def _begin(begin: int, dim: Dim) -> Dim:
    """Where a slice begins, counted from the front and inside the tensor."""
    if isinstance(dim, int):
        return min(max(begin + dim if begin < 0 else begin, 0), dim)
    return canonical(f"max({dim} - {-begin}, 0)" if begin < 0 else f"min({begin}, {dim})")


def _end(begin: Dim, size: Dim, stride: int) -> Dim:
    """One past the last element taken."""
    if isinstance(begin, int) and isinstance(size, int):
        return begin + (size - 1) * stride + 1
    return canonical(f"{begin} + ({size} - 1) * {stride} + 1")


def _lower_slice(graph: DnnlGraph, node: Node) -> None:
    x, out = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    begins: list[Dim] = [0] * len(x)
    strides = [1] * len(x)
    for axis, begin, stride in zip(
        node.attrs["axes"], node.attrs["begin"], _strides(node), strict=True
    ):
        place = axis_of(int(axis), len(x))
        begins[place] = 0 if begin == 0 else _begin(int(begin), x[place])
        strides[place] = stride
    graph.emit(
        "slice",
        node.inputs[:1],
        out=node.outputs[0],
        begin=begins,
        end=[_end(b, n, s) for b, n, s in zip(begins, out, strides, strict=True)],
        strides=strides,
    )


# Padding

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "edge": "edge"}


def _check_pad(node: Node, tensors: Tensors) -> Reject | None:
    widths = tuple(node.attrs["pad_width"])
    if any(not isinstance(w, int) or w < 0 for w in widths):
        return Reject(f"{node.op}: pad_width {widths} is not all static and >= 0")
    if not math.isfinite(float(node.attrs["pad_value"])):
        return Reject(f"{node.op}: pad_value {node.attrs['pad_value']} is not finite")
    if node.attrs["pad_mode"] == "reflect":
        for axis, dim in enumerate(tensors.type(node.inputs[0]).shape):
            pads = widths[2 * axis : 2 * axis + 2]
            if any(pads) and not (isinstance(dim, int) and max(pads) < dim):
                return Reject(
                    f"{node.op}: cannot reflect {max(pads)} elements of dimension {dim!r}"
                )
    return first(check_one_of(node, "pad_mode", tuple(_PAD_MODES)), check_float(node, tensors))


def _lower_pad(graph: DnnlGraph, node: Node) -> None:
    widths = [int(w) for w in node.attrs["pad_width"]]
    graph.emit(
        "pad",
        node.inputs[:1],
        out=node.outputs[0],
        pads_begin=widths[0::2],
        pads_end=widths[1::2],
        value=float(node.attrs["pad_value"]),
        mode=_PAD_MODES[node.attrs["pad_mode"]],
    )


# Gather


def _check_take(node: Node, tensors: Tensors) -> Reject | None:
    axis, mode = node.attrs.get("axis"), node.attrs.get("mode", "fast")
    if axis is None and len(tensors.type(node.inputs[0]).shape) != 1:
        return Reject(f"{node.op}: needs an axis")
    indices = tensors.constant(node.inputs[1])
    if mode not in ("fast", "wrap") and indices is None:
        return Reject(f"{node.op}: mode {mode!r} with indices that are not constant")
    if indices is not None and not _in_range(node, tensors, indices, from_end=mode == "wrap"):
        return Reject(f"{node.op}: constant indices reach outside the tensor")
    return first(
        check_dtypes(node, tensors, node.inputs[1:], ("int32", "int64")),
        check_dtypes(node, tensors, node.inputs[:1], ("float32", "int8", "uint8")),
    )


def _in_range(node: Node, tensors: Tensors, indices: Array, *, from_end: bool) -> bool:
    shape = tensors.type(node.inputs[0]).shape
    dim = shape[axis_of(int(node.attrs.get("axis") or 0), len(shape))]
    if not isinstance(dim, int):
        return bool((indices >= 0).all())
    least = -dim if from_end else 0
    return bool((indices >= least).all() and (indices < dim).all())


def _lower_take(graph: DnnlGraph, node: Node) -> None:
    """A gather; one constant index is a slice, which needs no index at run time.

    Mode "wrap" is how indices arrive that may count from the end: where negative ones are legal.
    The runtime refuses what lies outside, where "wrap" would go round again.
    """
    (x, indices), out = node.inputs, node.outputs[0]
    axis = axis_of(int(node.attrs.get("axis") or 0), graph.rank(x))
    known = graph.constants.get(indices)
    dim = graph.shape(x)[axis]
    if known is None or (known.size != 1 and not (known < 0).any()):
        from_end = node.attrs.get("mode", "fast") == "wrap"
        graph.emit("gather", [x, indices], out=out, axis=axis, from_end=from_end)
        return
    if known.size != 1:
        wrapped = graph.constant(np.where(known < 0, known + int(dim), known).astype(known.dtype))
        graph.emit("gather", [x, wrapped], out=out, axis=axis, from_end=False)
        return
    place = int(known.reshape(()))
    begin: list[Dim] = [0] * graph.rank(x)
    begin[axis] = place + int(dim) if place < 0 else place
    shape = list(graph.shape(x))
    shape[axis] = 1
    end = [_end(b, n, 1) for b, n in zip(begin, shape, strict=True)]
    part = graph.emit(
        "slice", [x], shape, graph.type(x).dtype, begin=begin, end=end, strides=[1] * len(shape)
    )
    graph.emit("reshape", [part], out=out)


# Pixel shuffle


def _check_shuffle(node: Node, tensors: Tensors) -> Reject | None:
    kind = tensors.type(node.inputs[0])
    if len(kind.shape) != 4:
        return Reject(f"{node.op}: needs a tensor of 4 dimensions, found {len(kind.shape)}")
    if not isinstance(kind.shape[1], int):
        return Reject(f"{node.op}: number of channels {kind.shape[1]!r} is symbolic")
    return check_float(node, tensors)


def _lower_shuffle(graph: DnnlGraph, node: Node) -> None:
    """[N, C*r*r, H, W] → [N, C, r, r, H, W] → [N, C, H, r, W, r] → [N, C, H*r, W*r]"""
    r = int(node.attrs["upscale_factor"])
    n, c, h, w = graph.shape(node.inputs[0])
    blocks = graph.emit("reshape", node.inputs, [n, int(c) // (r * r), r, r, h, w])
    woven = transpose(graph, blocks, [0, 1, 4, 2, 5, 3])
    graph.emit("reshape", [woven], out=node.outputs[0])


_ANY = "any supported dtype"
_RESHAPES = ("reshape", "flatten", "squeeze", "expand_dims", "nn.batch_flatten")
_reshape: Callable[[str], OpRule] = lambda op: OpRule(op, _check_any, _lower_reshape, _ANY)  # noqa: E731

RULES = (
    *(_reshape(op) for op in _RESHAPES),
    OpRule("permute_dims", _check_any, _lower_transpose, _ANY),
    OpRule("broadcast_to", _check_any, _lower_broadcast, _ANY),
    OpRule("concat", _check_any, _lower_concat, _ANY),
    OpRule("stack", _check_any, _lower_stack, _ANY),
    OpRule("split", _check_any, _lower_split, _ANY),
    OpRule("tile", _check_tile, _lower_tile, f"up to {MAX_RANK} dimensions and repeated axes"),
    OpRule(
        "repeat", _check_repeat, _lower_repeat, f"up to {MAX_RANK - 1} dimensions, along an axis"
    ),
    OpRule("strided_slice", _check_slice, _lower_slice, "static bounds, positive strides"),
    OpRule("nn.pad", _check_pad, _lower_pad, "float32; static widths >= 0; not circular"),
    OpRule(
        "take",
        _check_take,
        _lower_take,
        "float32, int8, uint8 data; mode fast or wrap, or constant indices",
    ),
    OpRule("nn.pixel_shuffle", _check_shuffle, _lower_shuffle, "float32, 4 dimensions"),
)
