"""Sliding windows over tiles: what a tile of outputs reads, and the fields that say so."""

from __future__ import annotations

from collections.abc import Iterator

from byoc.vendor_templates.npu.emission.writer import Buffers, View, Writer
from byoc.vendor_templates.npu.lowering.int8_graph import Conv, Pool, Window
from byoc.vendor_templates.npu.planning.plans import WindowPlan, input_span, spans

__all__ = ["Tile", "input_tile", "tiles", "window_fields"]

Tile = tuple[int, tuple[int, int], tuple[int, int]]
"""(image, output rows, output columns)."""


def window_fields(
    window: Window, view: View, size: tuple[int, int], rows: tuple[int, int],
    cols: tuple[int, int], channel: int,
) -> tuple[dict[str, int], int]:  # fmt: skip
    """Fields of an instruction that slides over outputs rows x cols; its input's last byte."""
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
    """The tiles that cover a tensor of outputs."""
    for image in range(shape[0]):
        for rows in spans(shape[1], plan.th):
            for cols in spans(shape[2], plan.tw):
                yield image, rows, cols


def input_tile(
    w: Writer, op: Conv | Pool, plan: WindowPlan, buffers: Buffers, image: int,
    rows: tuple[int, int], cols: tuple[int, int], channels: tuple[int, int],
) -> View:  # fmt: skip
    """The input of a tile: where it is resident, else loaded."""
    resident = w.resident(op.x)
    if resident is not None:
        view = w.whole(resident, op.shape_in, image)
        return View(view.address + channels[0], 0, 0, view.row, view.pix)
    size = op.shape_in[1:3]
    across = input_span(*rows, size[0], op.window, 0), input_span(*cols, size[1], op.window, 1)
    return w.box("load", op.x, (op.shape_in, image, *across, channels), buffers.next())
