"""Fusion into the store path: what follows a convolution rides on its requantisation.

::

    Conv ─▶ Add(other) ─▶ Lookup        becomes        Conv(residual=other, table=…)

The vector unit reads each sum once, requantises, adds, looks up, and writes the final byte; the
values between never exist. The rounding between the two steps is kept: results do not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from byoc.vendor_templates.npu.lowering.int8_graph import Conv, Elementwise, Int8Graph, Residual

__all__ = ["fuse"]


def fuse(graph: Int8Graph) -> int:
    """Fuse additions and tables into convolutions, in place.

    Returns:
        How many operations were fused.
    """
    count = 0
    position = 0
    while position < len(graph.operations):
        op = graph.operations[position]
        merged = _merge(graph, op, _single_use(graph)) if isinstance(op, Elementwise) else None
        if merged is None:
            position += 1
            continue
        graph.operations.remove(merged)  # it moves to where its result was first needed
        graph.operations[position - 1] = merged
        count += 1
    return count


def _single_use(graph: Int8Graph) -> Mapping[int, Conv]:
    """Tensor -> the convolution that writes it, where exactly one operation reads it."""
    uses = Counter(t for op in graph.operations for t in graph.reads(op))
    kept = {graph.base(border.tensor) for border in graph.results}
    return {
        op.y: op
        for op in graph.operations
        if isinstance(op, Conv) and uses[op.y] == 1 and op.y not in kept
    }


def _merge(graph: Int8Graph, op: Elementwise, single: Mapping[int, Conv]) -> Conv | None:
    """The convolution that now does the work of `op`, or None."""
    if op.kind == "lookup":
        conv = single.get(graph.base(op.x))
        if conv is None or conv.table is not None:
            return None
        conv.table, conv.y, conv.source = op.table, op.y, op.source
        return conv
    if op.kind != "add" or op.broadcast or op.b is None:
        return None
    order = {id(other): i for i, other in enumerate(graph.operations)}
    found = [
        (conv, other, swap)
        for tensor, other, swap in ((op.x, op.b, False), (op.b, op.x, True))
        if (conv := single.get(graph.base(tensor))) is not None
        and conv.residual is None
        and conv.table is None
        and graph.base(tensor) != graph.base(other)
        and graph.tensors[tensor].nbytes == graph.tensors[op.y].nbytes
    ]
    if not found:
        return None
    conv, other, swap = max(found, key=lambda item: order[id(item[0])])
    m1, m2 = (op.m2, op.m1) if swap else (op.m1, op.m2)
    q_zero, r_zero = (op.b_zero, op.a_zero) if swap else (op.a_zero, op.b_zero)
    conv.residual = Residual(
        tensor=other,
        m1=m1,
        m2=m2,
        c=op.c,
        q_zero=q_zero,
        r_zero=r_zero,
        zero=op.zero,
        r_first=swap,
        lo=op.lo,
        hi=op.hi,
    )
    conv.y, conv.source = op.y, op.source
    return conv
