"""Non-maximum suppression: the best boxes that do not overlap, class by class.

    for place in order (of falling scores), until `limit` are kept:
        keep it if its score is above `least` and no kept box overlaps it by more than `overlap`

    rows [B·C·K, 3]   image, class, box; -1 in rows that nothing was kept for

The overlap is the intersection of two boxes by their union, 0 where one has no area. A corner may
be any of a box's.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as script

__all__ = ["SUPPRESSION", "emit_suppression"]

SUPPRESSION = "relax.byoc.suppression"
"""The op: boxes [B, N, 4], scores and order [B, C, N], limit, overlap and least [1]."""


def emit_suppression(builder: Any, call: Any) -> Any:
    """Emit a non-maximum suppression.

    Args:
        builder: The block builder of the function.
        call: The op.

    Returns:
        The call of its kernel.
    """
    shape = list(call.ty.shape.values)
    bounded = bool(int(call.attrs["bounded"]))

    def kernel(*tensors: Any) -> Any:
        return te.extern(
            [shape],
            list(tensors),
            lambda ins, outs: _loops(ins, outs[0], bounded),
            name="suppression",
            dtype=["int64"],
        )

    return builder.call_te(kernel, *call.args[0].fields, primfunc_name_hint="non_max_suppression")


def _loops(ins: Any, rows: Any, bounded: bool) -> Any:
    boxes, scores, order, limit, overlap, least = ins
    images, classes, count = scores.shape
    most = tirx.floordiv(rows.shape[0], images * classes)
    with IRBuilder() as builder:
        rows_at = script.buffer_proxy(rows)
        with script.parallel(0, images * classes) as plane:
            state = script.buffer_proxy(
                script.alloc_buffer((2,), "int64", scope="local")
            )  # kept; overlapped
            image, kind = tirx.floordiv(plane, classes), tirx.floormod(plane, classes)
            with script.serial(0, most) as row:
                for column in range(3):
                    rows_at[plane * most + row, column] = script.int64(-1)
            state[0] = script.int64(0)
            with script.serial(0, count) as turn:
                place = order[image, kind, turn]
                wanted = state[0] < tirx.min(tirx.Cast("int64", most), limit[0])
                if bounded:
                    wanted = tirx.And(wanted, scores[image, kind, place] > least[0])
                with script.If(wanted), script.Then():
                    state[1] = script.int64(0)
                    with script.serial(0, state[0]) as other:
                        share = _overlap(boxes, image, place, rows_at[plane * most + other, 2])
                        with script.If(share > overlap[0]), script.Then():
                            state[1] = script.int64(1)
                    with script.If(state[1] == script.int64(0)), script.Then():
                        row = plane * most + state[0]
                        rows_at[row, 0] = tirx.Cast("int64", image)
                        rows_at[row, 1] = tirx.Cast("int64", kind)
                        rows_at[row, 2] = place
                        state[0] = state[0] + script.int64(1)
        return builder.get()


def _overlap(boxes: Any, image: Any, a: Any, b: Any) -> Any:
    areas, shared = [tirx.const(1, "float32")] * 2, tirx.const(1, "float32")
    for axis in range(2):
        ends = [(boxes[image, i, axis], boxes[image, i, axis + 2]) for i in (a, b)]
        low, high = [tirx.min(*e) for e in ends], [tirx.max(*e) for e in ends]
        areas = [area * (h - m) for area, m, h in zip(areas, low, high, strict=True)]
        shared *= tirx.max(tirx.min(*high) - tirx.max(*low), tirx.const(0, "float32"))
    whole = areas[0] + areas[1] - shared
    proper = tirx.all(shared > 0, areas[0] > 0, areas[1] > 0, whole > 0)
    return tirx.Select(proper, shared / whole, tirx.const(0, "float32"))
