"""Concatenation, and the exchange of two axes."""

from __future__ import annotations

import numpy as np

from byoc.vendor_templates.npu.emission.writer import ProgramWriter
from byoc.vendor_templates.npu.lowering.int8_graph import Concat, Permute
from byoc.vendor_templates.npu.planning.plans import spans

__all__ = ["emit_concat", "emit_permute"]

_WIDE = 4096  # bytes of a row that one look-up takes
_SHORT = 65535  # largest value of a 16-bit field


def emit_concat(w: ProgramWriter, op: Concat) -> None:
    """Emit a concatenation; parts with a table, or into the chip, pass the vector unit.

    Args:
        w: Receives the instructions and constants.
        op: The concatenation.
    """
    run_y = sum(part[1] for part in op.parts)
    depth = w.settings.buffers
    room = (w.region - 64) // (2 * depth) // 64 * 64
    xs, ys = w.buffers(room, depth), w.buffers(room, depth)
    identity = np.arange(-128, 128, dtype=np.int8)
    offset = 0
    resident_y = w.resident(op.y)
    for tensor, run, table in op.parts:
        looks = table is not None or resident_y is not None
        lut = w.weights((identity if table is None else table).tobytes()) if looks else 0
        resident_x = w.resident(tensor)
        for cols in spans(run, min(run, room, _WIDE if looks else run)):
            width = cols[1] - cols[0]
            for rows in spans(op.rows, max(1, min(_SHORT, room // width))):
                count = rows[1] - rows[0]
                start = rows[0] * run + cols[0]
                if resident_x is None:
                    at, row = xs.next(), width
                    w.load(
                        tensor,
                        offset=start,
                        spm=at,
                        shape=(1, count, width),
                        strides=(0, run),
                        near=(0, width),
                    )
                else:
                    at, row = resident_x + start, run
                target = rows[0] * run_y + offset + cols[0]
                if looks:
                    to, to_row = (
                        (ys.next(), width) if resident_y is None
                        else (resident_y + target, run_y)
                    )  # fmt: skip
                    _copy_rows(w, at, row, to, to_row, count, width, lut)
                    at, row = to, to_row
                if resident_y is None:
                    w.store(
                        op.y,
                        offset=target,
                        spm=at,
                        shape=(1, count, width),
                        strides=(0, run_y),
                        near=(0, row),
                    )
        offset += run


def _copy_rows(
    w: ProgramWriter, at: int, row: int, to: int, to_row: int, count: int, width: int, lut: int
) -> None:
    """Rows of bytes through a table; rows are the instruction's rows, of one pixel each."""
    w.stream.add(
        "lookup",
        [("act", at, at + (count - 1) * row + width), ("weight", lut, lut + 256)],
        [("act", to, to + (count - 1) * to_row + width)],
        x=at, y=to, lut=lut, out_h=count, out_w=1, x_row=row, y_row=to_row, n=width,
    )  # fmt: skip


def emit_permute(w: ProgramWriter, op: Permute) -> None:
    """Emit the exchange of two axes, [outer, a, b] to [outer, b, a], byte by byte in the store.

    Args:
        w: Receives the instructions.
        op: The exchange.
    """
    depth = w.settings.buffers
    room = (w.region - 64) // depth // 64 * 64
    xs = w.buffers(room, depth)
    resident = w.resident(op.x)
    for image in range(op.outer):
        base = image * op.a * op.b
        for cols in spans(op.b, min(op.b, room, _SHORT)):
            width = cols[1] - cols[0]
            for rows in spans(op.a, max(1, min(_SHORT, room // width))):
                count = rows[1] - rows[0]
                start = base + rows[0] * op.b + cols[0]
                if resident is None:
                    at, row = xs.next(), width
                    w.load(
                        op.x,
                        offset=start,
                        spm=at,
                        shape=(1, count, width),
                        strides=(0, op.b),
                        near=(0, width),
                    )
                else:
                    at, row = resident + start, op.b
                w.store(
                    op.y,
                    offset=base + cols[0] * op.a + rows[0],
                    spm=at,
                    shape=(width, count, 1),
                    strides=(op.a, 1),
                    near=(1, row),
                )
