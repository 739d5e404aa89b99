"""Sliding windows over tiles: what a tile of outputs reads, and the fields that say so."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.vendor_templates.npu.emission.writer import Buffers, ProgramWriter, View
from byoc.vendor_templates.npu.lowering.int8_graph import Conv, Pool, Window
from byoc.vendor_templates.npu.planning.plans import WindowPlan, input_span, spans

__all__ = ["Tile", "input_tile", "tiles", "window_fields"]

Tile = tuple[int, tuple[int, int], tuple[int, int]]
"""(image, output rows, output columns)."""


def window_fields(
    window: Window,
    view: View,
    size: tuple[int, int],
    rows: tuple[int, int],
    cols: tuple[int, int],
    channel: int,
) -> tuple[dict[str, int], int]:
    """Return the fields of an instruction that slides a window over outputs rows x cols.

    Args:
        window: The sliding window.
        view: Where the input lies.
        size: Rows and columns of the whole input.
        rows: First output row, and one past the last.
        cols: First output column, and one past the last.
        channel: First channel of the input that is read.

    Returns:
        The fields, and the address of the last input pixel.
    """
    top, bottom = input_span(*rows, size[0], window, 0)
    left, right = input_span(*cols, size[1], window, 1)
    x = view.at(top, left) + channel
    fields = {
        "x": x, "in_h": bottom - top, "in_w": right - left, "x_row": view.row,
        "x_pix": view.pix, "kh": window.kernel[0], "kw": window.kernel[1],
        "sh": window.stride[0], "sw": window.stride[1], "dh": window.dilation[0],
        "dw": window.dilation[1],
        "pt": max(0, window.pad[0] - rows[0] * window.stride[0]),
        "pl": max(0, window.pad[1] - cols[0] * window.stride[1]),
        "out_h": rows[1] - rows[0], "out_w": cols[1] - cols[0],
    }  # fmt: skip
    return fields, x + (bottom - top - 1) * view.row + (right - left - 1) * view.pix


def tiles(shape: tuple[int, int, int, int], plan: WindowPlan) -> Iterator[Tile]:
    """Yield the tiles that together cover a tensor of outputs, image by image and row by row.

    Args:
        shape: Shape of the tensor, as (n, h, w, c).
        plan: How many rows and columns a tile has at most.
    """
    for image in range(shape[0]):
        for rows in spans(shape[1], plan.th):
            for cols in spans(shape[2], plan.tw):
                yield image, rows, cols


def input_tile(
    w: ProgramWriter,
    op: Conv | Pool,
    plan: WindowPlan,
    buffers: Buffers,
    tile: Tile,
    channels: tuple[int, int],
) -> View:
    """Return where the input of a tile lies: in the resident tensor, or in a buffer, loaded.

    Args:
        w: Receives the load.
        op: The operation that reads it.
        plan: How the operation is cut.
        buffers: The operation's input buffers.
        tile: The outputs.
        channels: First channel of the input, and one past the last.
    """
    image, rows, cols = tile
    resident = w.resident(op.x)
    if resident is not None:
        view = w.whole(resident, op.shape_in, image)
        return View(view.address + channels[0], 0, 0, view.row, view.pix)
    size = op.shape_in[1:3]
    across = input_span(*rows, size[0], op.window, 0), input_span(*cols, size[1], op.window, 1)
    return w.box("load", op.x, (op.shape_in, image, *across, channels), buffers.next())
