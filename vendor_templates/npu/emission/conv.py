"""Convolutions and matrix products: tiles of input times blocks of weights, requantised.

In: a `Conv` and its plan. Out: instructions in the writer's stream. For every tile and block the
array sums up `ah` rows at a time, chunk by chunk of k, and the vector unit turns the sums into
bytes::

    load tile ─▶ [ load chunk ─▶ conv ]… ─▶ requant (+ residual, table) ─▶ store
"""

from __future__ import annotations

from dataclasses import dataclass

from byoc.vendor_templates.npu.emission.blocks import Block, channel_blocks
from byoc.vendor_templates.npu.emission.token_stream import Access
from byoc.vendor_templates.npu.emission.windows import Tile, input_tile, tiles, window_fields
from byoc.vendor_templates.npu.emission.writer import Box, Buffers, ProgramWriter, View
from byoc.vendor_templates.npu.lowering.int8_graph import Conv
from byoc.vendor_templates.npu.lowering.numerics import float_bits
from byoc.vendor_templates.npu.planning.plans import WindowPlan, align

__all__ = ["emit_conv"]


def emit_conv(w: ProgramWriter, op: Conv, plan: WindowPlan) -> None:
    """Emit a convolution in the order of its plan: tiles outside, or blocks of weights outside.

    Args:
        w: Receives the instructions and constants.
        op: The convolution or matrix product.
        plan: How it is cut.
    """
    emission = _ConvEmission(
        w=w,
        op=op,
        plan=plan,
        xs=w.buffers(plan.x_bytes, plan.x_buffers),
        ys=w.buffers(plan.y_bytes, plan.y_buffers if plan.y_bytes else 0),
        rs=w.buffers(plan.r_bytes, plan.y_buffers if plan.r_bytes else 0),
    )
    pieces = list(tiles(op.shape_out, plan))
    blocks = [Block(op, plan, *b) for b in channel_blocks(op, plan.nb)]
    if plan.weights_stay:
        w.ring_room(sum(align(b.bytes) for b in blocks))
        for block in blocks:
            block.load_whole(w)
    if op.depthwise:
        for block in blocks:
            for tile in pieces:
                view = emission.load(tile, (block.first, block.end))
                emission.tile(tile, block, view, channel=0)
    elif plan.order == "tiles":
        for tile in pieces:
            view = emission.load(tile, (0, op.shape_in[3]))
            for block in blocks:
                emission.tile(tile, block, view, channel=block.channel)
                block.forget(plan.weights_stay)
    else:
        for block in blocks:
            for tile in pieces:
                view = emission.load(tile, (0, op.shape_in[3]))
                emission.tile(tile, block, view, channel=block.channel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConvEmission:
    """One convolution being written; xs, ys, rs: buffers of inputs, outputs, residuals."""

    w: ProgramWriter
    op: Conv
    plan: WindowPlan
    xs: Buffers
    ys: Buffers
    rs: Buffers

    def load(self, tile: Tile, channels: tuple[int, int]) -> View:
        """The input of a tile, loaded unless it is resident."""
        return input_tile(self.w, self.op, self.plan, self.xs, tile, channels)

    def tile(self, tile: Tile, block: Block, view: View, *, channel: int) -> None:
        """One tile by one block: sum up `ah` rows, chunk by chunk of k, requantise them, go on.

        channel: first channel of the input that the block reads.
        """
        w, op, plan = self.w, self.op, self.plan
        image, tile_rows, cols = tile
        for first in range(tile_rows[0], tile_rows[1], plan.ah):
            rows = (first, min(first + plan.ah, tile_rows[1]))
            pixels = (rows[1] - rows[0]) * (cols[1] - cols[0])
            acc = w.accumulators(pixels * block.count)
            sums: Access = ("acc", acc, acc + pixels * block.count)
            fields, last = window_fields(op.window, view, op.shape_in[1:3], rows, cols, channel)
            width = block.count if op.depthwise else op.weights.shape[3]
            reads: Access = ("act", fields["x"], last + width)
            common = {**fields, "acc": acc, "n": block.count, "pad_value": op.x_zero}
            for chunk in range(block.chunks):
                at, size = block.chunk(w, chunk)
                source: Access = ("weight", at, at + size)
                if op.depthwise:
                    w.stream.add("dwconv", [reads, source], [sums], w=at, **common)
                    continue
                begin, end = chunk * plan.kc, min((chunk + 1) * plan.kc, block.k)
                w.stream.add(
                    "conv", [reads, source], [sums], w=at, **common, channels=width,
                    k_begin=begin, k_count=end - begin, accumulate=int(chunk > 0),
                )  # fmt: skip
            box: Box = (op.shape_out, image, rows, cols, (block.first, block.end))
            self.requantise(block, box, sums)

    def requantise(self, block: Block, box: Box, sums: Access) -> None:
        """Sums -> bytes, with the residual and the table; then store."""
        w, op = self.w, self.op
        _, _, rows, cols, _ = box
        params, table = block.params()
        end = table + 256 if op.table is not None else params + 8 * block.count
        reads: list[Access] = [sums, ("weight", params, end)]
        fields = {
            "rounding": 0, "zero": op.zero, "acc": sums[1], "params": params, "lo": op.lo,
            "hi": op.hi, "n": block.count, "out_h": rows[1] - rows[0], "out_w": cols[1] - cols[0],
        }  # fmt: skip
        if op.table is not None:
            fields |= {"table": 1, "lut": table}
        if (residual := op.residual) is not None:
            view, end = w.operand(residual.tensor, box, self.rs)
            reads.append(("act", view.address, end))
            fields |= {
                "residual": 1, "r": view.address, "r_row": view.row, "r_pix": view.pix,
                "r_first": int(residual.r_first), "m1": float_bits(residual.m1),
                "m2": float_bits(residual.m2), "c": float_bits(residual.c),
                "q_zero": residual.q_zero, "r_zero": residual.r_zero, "zero2": residual.zero,
                "lo2": residual.lo, "hi2": residual.hi,
            }  # fmt: skip
        y, end, stays = w.result(op.y, box, self.ys)
        writes: list[Access] = [("act", y.address, end)]
        w.stream.add("requant", reads, writes, y=y.address, y_row=y.row, y_pix=y.pix, **fields)
        if not stays:
            w.box("store", op.y, box, y.address)
