"""Explicit padding before a convolution or pool becomes the padding of that op.

conv(pad(x, w, 0), p)      → conv(x, p + w)
avg_pool(pad(x, w, 0), 0)  → avg_pool(x, w, count_include_pad)
max_pool(pad(x, w, v), p)  → max_pool(x, p + w)   v = -inf, or v = 0 and x ≥ 0
"""

from __future__ import annotations

from typing import Any

from tvm import relax

from byoc.frontends.normalise.engine import Rules
from byoc.frontends.normalise.graph import Graph, GraphNode, Value
from byoc.frontends.normalise.match import is_op

__all__ = ["RULES"]

_LOWEST = -3.4e38


def _padding(pad: Any, op: GraphNode) -> list[int] | None:
    """Padding of the pad and the op together, begins then ends; None when it cannot move."""
    if not is_op(pad, "nn.pad") or pad.attrs.pad_mode != "constant":
        return None
    layout = op.attrs.data_layout if hasattr(op.attrs, "data_layout") else op.attrs.layout
    width = [int(w) for w in pad.attrs.pad_width]
    pairs = list(zip(width[::2], width[1::2], strict=True))
    if len(layout) != len(pairs) or any(any(pairs[layout.find(a)]) for a in "NC"):
        return None
    spatial = [p for axis, p in zip(layout, pairs, strict=True) if axis not in "NC"]
    own = [int(p) for p in op.attrs.padding]
    moved = [b for b, _ in spatial] + [e for _, e in spatial]
    if any(m < 0 for m in moved):
        return None
    return [a + b for a, b in zip(own, moved, strict=True)]


def _convolution(graph: Graph, node: GraphNode) -> Value | None:
    pad = node.args[0]
    padding = _padding(pad, node)
    if padding is None or float(pad.attrs.pad_value) != 0:
        return None
    a, op = node.attrs, getattr(relax.op.nn, node.op.removeprefix("nn."))
    return graph.emit(
        op(
            pad.args[0].expr,
            node.args[1].expr,
            a.strides,
            padding,
            a.dilation,
            int(a.groups),
            a.data_layout,
            a.kernel_layout,
            a.out_layout,
            a.out_dtype,
        )
    )


def _pool(graph: Graph, node: GraphNode) -> Value | None:
    pad, a = node.args[0], node.attrs
    padding = _padding(pad, node)
    if padding is None:
        return None
    value = float(pad.attrs.pad_value)
    kernel = [int(k) for k in a.pool_size]
    if node.op.startswith("nn.avg"):
        if value != 0 or any(int(p) for p in a.padding) or a.ceil_mode:
            return None
        include = True
    else:
        # In a window that holds an element of x, a pad that is no larger changes nothing.
        harmless = value <= _LOWEST or (value == 0 and _is_positive(pad.args[0]))
        fits = all(p < k for p, k in zip(padding, kernel * 2, strict=True))
        dilated = any(int(d) != 1 for d in a.dilation)
        if not harmless or not fits or a.ceil_mode or dilated:
            return None
        include = bool(a.count_include_pad)
    op = getattr(relax.op.nn, node.op.removeprefix("nn."))
    return graph.emit(
        op(
            pad.args[0].expr,
            kernel,
            a.strides,
            padding,
            a.dilation,
            bool(a.ceil_mode),
            include,
            a.layout,
            a.out_layout,
        )
    )


def _is_positive(value: Any) -> bool:
    if is_op(value, "clip"):
        low = value.leaf(1)
        return isinstance(low, (int, float)) and low >= 0
    return is_op(value, "nn.relu", "sigmoid", "square", "exp", "abs", "nn.softmax")


RULES: Rules = {
    **{f"nn.conv{d}d": [_convolution] for d in (1, 2, 3)},
    **{f"nn.{kind}_pool{d}d": [_pool] for kind in ("avg", "max") for d in (1, 2, 3)},
}
