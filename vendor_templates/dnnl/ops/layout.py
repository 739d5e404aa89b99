"""Between a model's layouts ("NHWC", "HWIO") and the one order programs know ("NCHW", "OIHW")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from byoc.vendor_templates.dnnl.graph import DnnlGraph

__all__ = ["SPATIAL", "permuted", "to_layout", "to_standard", "transpose"]

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}
"""Letters of the spatial dimensions."""


def permuted(items: Sequence[Any], axes: Sequence[int]) -> list[Any]:
    """Return ``items[axes[0]], items[axes[1]], …``.

    Args:
        items: What is put in another order, usually the dimensions of a shape.
        axes: The old position of each item of the result.
    """
    return [items[a] for a in axes]


def transpose(graph: DnnlGraph, value: int, axes: Sequence[int]) -> int:
    """Return the transposed value, which is the value itself when the axes say so.

    Args:
        graph: The graph, which gets the op.
        value: The value to transpose.
        axes: The old axis of each dimension of the result.
    """
    if list(axes) == list(range(len(axes))):
        return value
    shape = permuted(graph.shape(value), axes)
    return graph.emit("transpose", [value], shape, graph.type(value).dtype, axes=list(axes))


def to_standard(graph: DnnlGraph, value: int, layout: str, standard: str) -> int:
    """Return a value with its dimensions in the standard order.

    Args:
        graph: The graph, which gets a transpose where one is needed.
        value: The value.
        layout: The order of its dimensions now (``"NHWC"``).
        standard: The order wanted (``"NCHW"``).
    """
    return transpose(graph, value, [layout.index(c) for c in standard])


def to_layout(
    graph: DnnlGraph,
    kind: str,
    inputs: Sequence[int],
    out: int,
    layout: str,
    standard: str,
    **attrs: Any,
) -> None:
    """Emit an op that computes in the standard order and give its result, in `layout`, to `out`.

    Args:
        graph: Where the op is emitted, with a transpose behind it if need be.
        kind: The op's kind.
        inputs: Its inputs, in the standard order.
        out: The value that gets the result.
        layout: Order of `out`'s dims, for example "NHWC".
        standard: The order that programs know, for example "NCHW".
        **attrs: The op's attributes.

    """
    if layout == standard:
        graph.emit(kind, inputs, out=out, **attrs)
        return
    shape = permuted(graph.shape(out), [layout.index(c) for c in standard])
    inner = graph.emit(kind, inputs, shape, graph.type(out).dtype, **attrs)
    graph.emit("transpose", [inner], out=out, axes=[standard.index(c) for c in layout])
