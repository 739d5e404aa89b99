"""Transposes sink towards the outputs until they meet their inverse.

A model in NHWC reaches us as ``transpose → conv → transpose`` for every convolution::

    conv ─ T' ─ relu ─ T ─ conv        T' is moved behind relu, where T cancels it:
    conv ─ relu ─ T' ─ T ─ conv   =    conv ─ relu ─ conv
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from byoc.vendor_templates.dnnl.graph import DnnlGraph, DnnlOp
from byoc.vendor_templates.dnnl.ops.layout import permuted

__all__ = ["sink_transposes"]

Sink = Callable[[DnnlGraph, DnnlOp], bool]


def sink_transposes(graph: DnnlGraph) -> None:
    """Move each transpose behind the ops that do not care, in one walk."""
    for op in graph.walk():
        if (sink := _SINKS.get(op.kind)) is not None and not op.post:
            sink(graph, op)


def _axes(graph: DnnlGraph, value: int, *, alone: bool = True) -> list[int] | None:
    """The axes of the transpose that makes a value (`alone`: one that nobody else reads)."""
    op = graph.made_by(value, "transpose", alone=alone)
    return None if op is None else op.attrs["axes"]


def _below(graph: DnnlGraph, value: int) -> int:
    """What the transpose that makes `value` reads."""
    return graph.producer[value].inputs[0]


def _inverse(axes: Sequence[int]) -> list[int]:
    return [axes.index(a) for a in range(len(axes))]


def _behind(
    graph: DnnlGraph, op: DnnlOp, inputs: Sequence[int], axes: Sequence[int], **attrs: object
) -> bool:
    """Compute `op` on what lies before the transposes; `op` itself becomes the transpose."""
    kind = graph.type(op.out)
    shape = permuted(kind.shape, _inverse(axes))
    inner = graph.emit(op.kind, inputs, shape, kind.dtype, **{**op.attrs, **attrs})
    graph.morph(op, "transpose", [inner], {"axes": list(axes)})
    return True


def _compose(graph: DnnlGraph, op: DnnlOp) -> bool:
    inner = _axes(graph, op.inputs[0], alone=False)
    if inner is None:
        return False
    axes = [inner[a] for a in op.attrs["axes"]]
    if axes == list(range(len(axes))):
        graph.replace(op.out, _below(graph, op.inputs[0]))
    else:
        graph.morph(op, "transpose", [_below(graph, op.inputs[0])], {"axes": axes})
    return True


def _unary(graph: DnnlGraph, op: DnnlOp) -> bool:
    axes = _axes(graph, op.inputs[0])
    return axes is not None and _behind(graph, op, [_below(graph, op.inputs[0])], axes)


def _binary(graph: DnnlGraph, op: DnnlOp) -> bool:
    """Both operands lie behind the same transpose, or one does and the other is a constant.

    Of two transposes others may read the results: the sum of residual nets is such a case.
    """
    rank = graph.rank(op.out)
    known = [_axes(graph, v, alone=False) for v in op.inputs]
    if known[0] != known[1]:
        known = [_axes(graph, v) for v in op.inputs]
    axes = next((a for a in known if a is not None and len(a) == rank), None)
    if axes is None:
        return False
    if op.inputs[0] == op.inputs[1]:
        return False
    inputs = []
    for value, own in zip(op.inputs, known, strict=True):
        if own == axes:
            inputs.append(_below(graph, value))
            continue
        array = graph.constants.get(value)
        if array is None:
            return False
        aligned = array.reshape((1,) * (rank - array.ndim) + array.shape)
        moved = np.ascontiguousarray(np.transpose(aligned, _inverse(axes)))
        inputs.append(graph.constant(moved) if array.size > 1 else value)
    return _behind(graph, op, inputs, axes)


def _concat(graph: DnnlGraph, op: DnnlOp) -> bool:
    known = [_axes(graph, v) for v in op.inputs]
    axes = known[0]
    if axes is None or any(other != axes for other in known):
        return False
    inputs = [_below(graph, v) for v in op.inputs]
    return _behind(graph, op, inputs, axes, axis=axes[op.attrs["axis"]])


def _axis(graph: DnnlGraph, op: DnnlOp) -> bool:
    axes = _axes(graph, op.inputs[0])
    if axes is None:
        return False
    below = _below(graph, op.inputs[0])
    return _behind(graph, op, [below], axes, axis=axes[op.attrs["axis"]])


def _per_dim(*names: str) -> Sink:
    """For ops with one attribute value per dim."""

    def sink(graph: DnnlGraph, op: DnnlOp) -> bool:
        axes = _axes(graph, op.inputs[0])
        if axes is None:
            return False
        attrs = {n: permuted(op.attrs[n], _inverse(axes)) for n in names}
        return _behind(graph, op, [_below(graph, op.inputs[0])], axes, **attrs)

    return sink


def _reduction(graph: DnnlGraph, op: DnnlOp) -> bool:
    """Reduced axes are renamed; what is left is transposed only if its order changed."""
    axes = _axes(graph, op.inputs[0])
    if axes is None:
        return False
    below = _below(graph, op.inputs[0])
    rank, out = graph.rank(below), graph.shape(op.out)
    reduced = sorted(axes[a] for a in op.attrs["axes"])
    kept = [1 if a in reduced else d for a, d in enumerate(graph.shape(below))]
    pooled = {"mean": "avg", "max": "max"}.get(op.attrs["alg"])
    if pooled is not None and rank >= 4 and reduced == list(range(2, rank)):
        small = graph.emit("global_pooling", [below], kept, alg=pooled)
    else:
        small = graph.emit("reduction", [below], kept, alg=op.attrs["alg"], axes=reduced)
    if len(out) == rank:
        graph.morph(op, "transpose", [small], {"axes": list(axes)})
        return True
    order = [a for a in axes if a not in reduced]
    if order == sorted(order):
        graph.morph(op, "reshape", [small])
        return True
    rest = graph.emit("reshape", [small], [kept[a] for a in sorted(order)])
    graph.morph(op, "transpose", [rest], {"axes": [sorted(order).index(a) for a in order]})
    return True


_SINKS: Mapping[str, Sink] = {
    "transpose": _compose,
    "eltwise": _unary,
    "cast": _unary,
    "quantize": _unary,
    "dequantize": _unary,
    "binary": _binary,
    "concat": _concat,
    "softmax": _axis,
    "pad": _per_dim("pads_begin", "pads_end"),
    "slice": _per_dim("begin", "end", "strides"),
    "reduction": _reduction,
}
