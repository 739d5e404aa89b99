"""Maximum and average pooling, with the divisor of every window in the scale."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.vendor_templates.npu.emission.token_stream import Access
from byoc.vendor_templates.npu.emission.windows import input_tile, tiles, window_fields
from byoc.vendor_templates.npu.emission.writer import Box, ProgramWriter
from byoc.vendor_templates.npu.lowering.int8_graph import Pool
from byoc.vendor_templates.npu.lowering.numerics import average_scale, float_bits
from byoc.vendor_templates.npu.planning.plans import WindowPlan, spans

__all__ = ["emit_pool"]


def emit_pool(w: ProgramWriter, op: Pool, plan: WindowPlan) -> None:
    """Emit a pooling, tile by tile; what follows it as a table is applied in place.

    Args:
        w: Receives the instructions and constants.
        op: The pooling.
        plan: How it is cut.
    """
    xs = w.buffers(plan.x_bytes, plan.x_buffers)
    ys = w.buffers(plan.y_bytes, plan.y_buffers if plan.y_bytes else 0)
    table = None if op.table is None else w.weights(op.table.tobytes())
    for channels in spans(op.shape_in[3], plan.nb):
        for tile in tiles(op.shape_out, plan):
            image, rows, cols = tile
            view = input_tile(w, op, plan, xs, tile, channels)
            box: Box = (op.shape_out, image, rows, cols, channels)
            y, end, stays = w.result(op.y, box, ys)
            at, row, pix = y.address, y.row, y.pix
            for part_rows, part_cols, count in _pool_parts(op, rows, cols):
                fields, last = window_fields(
                    op.window, view, op.shape_in[1:3], part_rows, part_cols, 0
                )
                fields |= {
                    "y": at + (part_rows[0] - rows[0]) * row + (part_cols[0] - cols[0]) * pix,
                    "y_row": row, "y_pix": pix, "n": channels[1] - channels[0],
                }  # fmt: skip
                reads: list[Access] = [("act", fields["x"], last + fields["n"])]
                writes: list[Access] = [("act", at, end)]
                if op.kind == "max":
                    w.stream.add("maxpool", reads, writes, **fields, lo=-128)
                    continue
                scale = average_scale(op.x_scale, op.y_scale, count)
                w.stream.add(
                    "avgpool", reads, writes, **fields, m1=float_bits(scale),
                    x_zero=op.x_zero, zero=op.zero, lo=-128, hi=127,
                )  # fmt: skip
            if table is not None:
                w.stream.add(
                    "lookup", [("act", at, end), ("weight", table, table + 256)],
                    [("act", at, end)], x=at, y=at, x_row=row, y_row=row, x_pix=pix, y_pix=pix,
                    lut=table, out_h=rows[1] - rows[0], out_w=cols[1] - cols[0],
                    n=channels[1] - channels[0],
                )  # fmt: skip
            if not stays:
                w.box("store", op.y, box, at)


def _pool_parts(
    op: Pool, rows: tuple[int, int], cols: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], tuple[int, int], int]]:
    """(rows, columns, positions to divide by): pieces whose windows count alike."""
    kh, kw = op.window.kernel
    if op.kind == "max" or not op.exclude_pad:
        yield rows, cols, kh * kw
        return
    for part_rows, count_rows in _equal_counts(op, rows, 0):
        for part_cols, count_cols in _equal_counts(op, cols, 1):
            yield part_rows, part_cols, count_rows * count_cols


def _equal_counts(
    op: Pool, outputs: tuple[int, int], axis: int
) -> Iterator[tuple[tuple[int, int], int]]:
    """Maximal runs of outputs whose windows have equally many positions inside the input."""
    size, window = op.shape_in[1 + axis], op.window

    def count(out: int) -> int:
        start = out * window.stride[axis] - window.pad[axis]
        positions = range(start, start + window.extent(axis), window.dilation[axis])
        return max(1, sum(0 <= p < size for p in positions))

    first = outputs[0]
    for out in range(outputs[0] + 1, outputs[1] + 1):
        if out == outputs[1] or count(out) != count(first):
            yield (first, out), count(first)
            first = out
