"""Sums, products and tables: bytes as they come, or pixels by one value of each channel."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.vendor_templates.npu.emission.token_stream import Access
from byoc.vendor_templates.npu.emission.writer import Buffers, ProgramWriter
from byoc.vendor_templates.npu.lowering.int8_graph import Elementwise
from byoc.vendor_templates.npu.lowering.numerics import float_bits
from byoc.vendor_templates.npu.planning.plans import align, spans

__all__ = ["emit_elementwise"]

_FLAT = 4096  # channels of a pixel when bytes are taken as they come
_SHORT = 65535  # largest value of a 16-bit field


def emit_elementwise(w: ProgramWriter, op: Elementwise) -> None:
    """Emit a sum, a product or a table.

    Args:
        w: Receives the instructions and constants.
        op: The operation.
    """
    table = None if op.table is None else w.weights(op.table.tobytes())
    per_image = op.pixels * op.channels
    if op.broadcast and op.b is not None:
        _broadcast(w, op, op.b, per_image)
        return
    total = op.images * per_image
    tensors = [op.x, op.y] if op.b is None else [op.x, op.y, op.b]
    moving = [t for t in tensors if w.resident(t) is None]
    step = _flat_step(w, total, len(moving))
    buffers = {
        t: w.buffers(align(step), w.buffer_count(total, step)) for t in dict.fromkeys(moving)
    }
    for first, end in spans(total, step):
        first_byte = {t: _bytes(w, t, first, end, buffers, t != op.y) for t in tensors}
        for begin, rows, n in _flat_pieces(end - first):
            at = {t: first_byte[t] + begin for t in tensors}
            size = rows * n
            reads: list[Access] = [("act", at[t], at[t] + size) for t in tensors if t != op.y]
            writes: list[Access] = [("act", at[op.y], at[op.y] + size)]
            shape = {"out_h": 1, "out_w": rows, "n": n}
            if op.b is None and table is not None:
                reads.append(("weight", table, table + 256))
                w.stream.add(
                    "lookup", reads, writes, x=at[op.x], y=at[op.y], lut=table, x_pix=n,
                    y_pix=n, **shape,
                )  # fmt: skip
            elif op.b is not None:
                w.stream.add(
                    op.kind, reads, writes, a=at[op.x], b=at[op.b], y=at[op.y], a_pix=n,
                    b_pix=n, y_pix=n, **shape, **_pair_fields(op),
                )  # fmt: skip
        if w.resident(op.y) is None:
            w.store(op.y, offset=first, spm=first_byte[op.y], shape=(1, 1, end - first))


def _flat_step(w: ProgramWriter, total: int, moving: int) -> int:
    """Bytes of a tile when `moving` tensors pass through buffers."""
    depth = w.settings.buffers
    room = (w.region - 64) // max(moving * depth, 1) // 64 * 64
    # A dozen tiles, so that the units overlap, but none so small that latency shows.
    wanted = max(align(total // 12), 8192)
    return min(max(min(room, wanted), 64), align(total))


def _bytes(
    w: ProgramWriter, tensor: int, first: int, end: int, buffers: dict[int, Buffers], load: bool
) -> int:
    """Where bytes [first, end) of a tensor are (loaded first when `load`)."""
    address = w.resident(tensor)
    if address is not None:
        return address + first
    at = buffers[tensor].next()
    if load:
        w.load(tensor, offset=first, spm=at, shape=(1, 1, end - first))
    return at


def _broadcast(w: ProgramWriter, op: Elementwise, b: int, per_image: int) -> None:
    """b has one pixel per image: its strides are zero."""
    depth = w.settings.buffers
    moving = [t for t in (op.x, op.y) if w.resident(t) is None]
    room = w.region // 64 * 64
    # Channels at a time: all of them when one pixel of each operand fits beside the others.
    width = min(op.channels, (room // (2 + len(moving) * depth) - 64) // 64 * 64, _SHORT)
    bs = w.buffers(align(width), 0 if w.resident(b) is not None else 2)
    pixels = min(op.pixels, _SHORT)
    if moving:
        pixels = min(pixels, (room - w.used) // (len(moving) * depth) // align(width))
    buffers = {t: w.buffers(align(pixels * width), depth) for t in moving}
    for image in range(op.images):
        for cols in spans(op.channels, width):
            count = cols[1] - cols[0]
            start_b = image * op.channels
            at_b = _bytes(w, b, start_b + cols[0], start_b + cols[1], {b: bs}, True)
            for first, end in spans(op.pixels, pixels):
                offset = image * per_image + first * op.channels + cols[0]
                piece = (offset, end - first, count, op.channels)
                at_x, pix_x, end_x = _rows(w, op.x, piece, buffers, True)
                at_y, pix_y, end_y = _rows(w, op.y, piece, buffers, False)
                w.stream.add(
                    op.kind, [("act", at_x, end_x), ("act", at_b, at_b + count)],
                    [("act", at_y, end_y)], a=at_x, b=at_b, y=at_y, a_pix=pix_x, b_pix=0,
                    y_pix=pix_y, out_h=1, out_w=end - first, n=count, **_pair_fields(op),
                )  # fmt: skip
                if op.y in buffers:
                    w.store(
                        op.y,
                        offset=offset,
                        spm=at_y,
                        shape=(1, end - first, count),
                        strides=(0, op.channels),
                        near=(0, count),
                    )


def _rows(
    w: ProgramWriter,
    tensor: int,
    piece: tuple[int, int, int, int],
    buffers: dict[int, Buffers],
    load: bool,
) -> tuple[int, int, int]:
    """(address, stride, end) of rows of bytes: (offset, rows, bytes, stride) of a tensor."""
    offset, rows, count, stride = piece
    address = w.resident(tensor)
    if address is not None:
        at = address + offset
        return at, stride, at + (rows - 1) * stride + count
    at = buffers[tensor].next()
    if load:
        w.load(
            tensor,
            offset=offset,
            spm=at,
            shape=(1, rows, count),
            strides=(0, stride),
            near=(0, count),
        )
    return at, count, at + rows * count


def _pair_fields(op: Elementwise) -> dict[str, int]:
    fields = {
        "m1": float_bits(op.m1), "a_zero": op.a_zero, "b_zero": op.b_zero, "zero": op.zero,
        "lo": op.lo, "hi": op.hi,
    }  # fmt: skip
    if op.kind == "add":
        fields |= {"m2": float_bits(op.m2), "c": float_bits(op.c)}
    return fields


def _flat_pieces(size: int) -> Iterator[tuple[int, int, int]]:
    """(first byte, pixels, channels) that cover `size` bytes: full lines, then what is left."""
    lines, rest = divmod(size, _FLAT)
    if lines:
        yield 0, lines, _FLAT
    if rest:
        yield lines * _FLAT, 1, rest
