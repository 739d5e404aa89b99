"""Maximum, average and global pooling."""

from __future__ import annotations

from math import prod

import numpy as np

from byoc.segment import Node
from byoc.vendor_templates.npu.lowering.context import Lowering
from byoc.vendor_templates.npu.lowering.int8_graph import Pool, Window
from byoc.vendor_templates.npu.lowering.table_functions import make_table
from byoc.vendor_templates.npu.lowering.values import (
    Layout,
    Out,
    PendingOp,
    Real,
    Stored,
    Value,
    nhwc,
    pads_of,
    pair_of,
)

__all__ = ["adaptive_pool", "mean", "pool"]


def pool(low: Lowering, node: Node) -> Value:
    """Lower a maximum or average over a sliding window.

    Args:
        low: The segment being lowered.
        node: The op, of two dimensions; its name says which kind.

    Raises:
        CompileError: The input is not quantised.
    """
    x = low.real(node, 0)
    layout: Layout = "first" if str(node.attrs["layout"])[1] == "C" else "last"
    kernel = node.attrs["pool_size"]
    window = Window(
        kernel=pair_of(kernel),
        stride=pair_of(node.attrs["strides"]),
        dilation=pair_of(node.attrs["dilation"]),
        pad=pads_of(node.attrs["padding"], 2),
    )
    kind = "max" if "max" in node.op else "avg"
    exclude = kind == "avg" and not node.attrs.get("count_include_pad")
    return _pool(low, node, x, layout, kind, window, exclude)


def adaptive_pool(low: Lowering, node: Node) -> Value:
    """Lower an average over equal parts of the image.

    Args:
        low: The segment being lowered.
        node: The op, `nn.adaptive_avg_pool2d`; its output sizes divide the input's.

    Raises:
        CompileError: The input is not quantised.
    """
    x = low.real(node, 0)
    layout: Layout = "first" if str(node.attrs["layout"])[1] == "C" else "last"
    (_, h, w, _), (_, oh, ow, _) = (
        nhwc(shape, layout) for shape in (x.stored.shape, low.shape(node.outputs[0]))
    )
    step = (h // oh, w // ow)
    return _pool(low, node, x, layout, "avg", Window(step, step), False)


def mean(low: Lowering, node: Node) -> Value:
    """Lower an average over the whole image.

    Args:
        low: The segment being lowered.
        node: The op, `mean`, over the spatial axes.

    Raises:
        CompileError: The input is not quantised.
    """
    x = low.real(node, 0)
    rank = len(x.stored.shape)
    axes = sorted(int(a) % rank for a in node.attrs["axis"])
    layout: Layout = "first" if axes[-1] == rank - 1 else "last"
    inner = [x.stored.shape[a] for a in axes]
    kernel = (inner[0], inner[1]) if len(inner) == 2 else (inner[0], 1)
    return _pool(low, node, x, layout, "avg", Window(kernel), False)


def _pool(
    low: Lowering, node: Node, x: Real, layout: Layout, kind: str, window: Window, exclude: bool
) -> PendingOp:
    shape = low.shape(node.outputs[0])
    n, h, w, c = nhwc(x.stored.shape, layout)
    if node.op == "mean":
        (h, w), (oh, ow) = window.kernel, (1, 1)
        n, c = x.stored.shape[0], prod(x.stored.shape) // (x.stored.shape[0] * h * w)
    else:
        _, oh, ow, _ = nhwc(shape, layout)

    def finish(out: Out) -> Stored:
        source = low.in_layout(x.stored, layout)
        y_layout: Layout = layout if len(shape) == len(source.shape) else "last"
        y = low.new(shape, y_layout, out.dtype, out.scale, out.zero, out.source)
        table = None
        if kind == "max":
            table = make_table(lambda v: v, x.scale, x.zero, out.scale, out.zero)
        elif out.lo > -128 or out.hi < 127:
            table = np.arange(-128, 128)
        if table is not None:
            table = np.clip(table, out.lo, out.hi).astype(np.int8)
            table = None if (table == np.arange(-128, 128)).all() else table
        low.graph.operations.append(
            Pool(
                kind=kind,
                x=source.tensor,
                y=y.tensor,
                shape_in=(n, h, w, c),
                shape_out=(n, oh, ow, c),
                window=window,
                exclude_pad=exclude,
                x_scale=x.scale,
                y_scale=out.scale,
                x_zero=x.zero,
                zero=out.zero,
                table=table,
                source=out.source,
            )
        )
        return y

    return PendingOp(finish, shape, node=node)
