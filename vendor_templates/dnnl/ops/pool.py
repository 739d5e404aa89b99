"""Pooling: max and average windows, global and adaptive averages."""

from __future__ import annotations

from typing import Any

from byoc.segment import Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import (
    Tensors,
    check_dtypes,
    check_float,
    check_layout,
    first,
)
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.layout import SPATIAL, to_layout, to_standard
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]


def _dims(node: Node) -> int:
    return int(node.op[-2])


def _check_window(node: Node, tensors: Tensors) -> Reject | None:
    letters = "NC" + SPATIAL[_dims(node)]
    legal = ("float32", "int8", "uint8") if "max" in node.op else ("float32",)
    return first(
        check_dtypes(node, tensors, (*node.inputs, *node.outputs), legal),
        check_layout(node, "layout", letters),
        check_layout(node, "out_layout", letters),
        _check_padding(node),
        _check_ceil(node, tensors),
    )


def _check_ceil(node: Node, tensors: Tensors) -> Reject | None:
    if node.attrs["ceil_mode"] and not tensors.type(node.inputs[0]).is_static:
        return Reject(
            f"{node.op}: ceil_mode needs a static shape, found {tensors.type(node.inputs[0])}"
        )
    return None


def _check_padding(node: Node) -> Reject | None:
    dims, padding = _dims(node), tuple(node.attrs["padding"])
    for axis in range(dims):
        extent = (node.attrs["pool_size"][axis] - 1) * node.attrs["dilation"][axis] + 1
        for pad in (padding[axis], padding[axis + dims]):
            if not 0 <= pad < extent:
                return Reject(
                    f"{node.op}: padding {padding} does not lie between 0 and the window's "
                    f"{extent} elements"
                )
    return None


def _lower_window(graph: DnnlGraph, node: Node) -> None:
    dims, attrs = _dims(node), node.attrs
    standard = "NC" + SPATIAL[dims]
    data = to_standard(graph, node.inputs[0], attrs["layout"], standard)
    alg = "max"
    if "avg" in node.op:
        alg = "avg_include_pad" if attrs["count_include_pad"] else "avg_exclude_pad"
    padding = [int(p) for p in attrs["padding"]]
    begin, end = padding[:dims], padding[dims:]
    kernel, strides, dilation = (
        [int(v) for v in attrs[k]] for k in ("pool_size", "strides", "dilation")
    )
    if attrs["ceil_mode"]:
        layout = attrs["out_layout"] or attrs["layout"]
        result = [graph.shape(node.outputs[0])[layout.index(c)] for c in SPATIAL[dims]]
        extra = []
        for axis, (size, out) in enumerate(zip(graph.shape(data)[2:], result, strict=True)):
            # The last window may reach past the end: program.md calls that padding.
            span = (int(out) - 1) * strides[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            extra.append(max(0, span - int(size) - begin[axis] - end[axis]))
        if alg == "avg_include_pad" and any(extra):
            # The padding counts, what lies past it does not: pad first, then leave out the rest.
            alg, data = "avg_exclude_pad", _padded(graph, data, begin, end)
            begin, end = [0] * dims, [0] * dims
        end = [e + x for e, x in zip(end, extra, strict=True)]
    to_layout(
        graph,
        "pooling",
        [data],
        node.outputs[0],
        attrs["out_layout"] or attrs["layout"],
        standard,
        alg=alg,
        kernel=kernel,
        strides=strides,
        dilations=dilation,
        pads_begin=begin,
        pads_end=end,
    )


def _padded(graph: DnnlGraph, data: int, begin: list[int], end: list[int]) -> int:
    """The data with zeros around; itself when there is no padding."""
    if not any((*begin, *end)):
        return data
    n, c, *sizes = graph.shape(data)
    wide = [int(s) + b + e for s, b, e in zip(sizes, begin, end, strict=True)]
    pads: dict[str, Any] = {"pads_begin": [0, 0, *begin], "pads_end": [0, 0, *end]}
    return graph.emit("pad", [data], [n, c, *wide], value=0.0, mode="constant", **pads)


def _check_adaptive(node: Node, tensors: Tensors) -> Reject | None:
    letters = "NC" + SPATIAL[_dims(node)]
    return first(
        check_float(node, tensors),
        check_layout(node, "layout", letters),
        check_layout(node, "out_layout", letters),
        _check_division(node, tensors),
    )


def _check_division(node: Node, tensors: Tensors) -> Reject | None:
    layout = node.attrs["layout"]
    sizes = [tensors.type(node.inputs[0]).shape[layout.index(c)] for c in SPATIAL[_dims(node)]]
    wanted = [int(v) for v in node.attrs["output_size"] or sizes]
    if all(w == 1 for w in wanted):
        return None
    for size, out in zip(sizes, wanted, strict=True):
        if not isinstance(size, int):
            return Reject(f"{node.op}: spatial size {size!r} is symbolic and the output is not 1")
        if size % out:
            return Reject(f"{node.op}: spatial size {size} is not a multiple of the output's {out}")
    return None


def _lower_adaptive(graph: DnnlGraph, node: Node) -> None:
    dims, attrs = _dims(node), node.attrs
    standard = "NC" + SPATIAL[dims]
    data = to_standard(graph, node.inputs[0], attrs["layout"], standard)
    layout = attrs["out_layout"] or attrs["layout"]
    out = node.outputs[0]
    result = [graph.shape(out)[layout.index(c)] for c in SPATIAL[dims]]
    if all(r == 1 for r in result):
        to_layout(graph, "global_pooling", [data], out, layout, standard, alg="avg")
        return
    sizes = graph.shape(data)[2:]
    kernel = [int(s) // int(r) for s, r in zip(sizes, result, strict=True)]
    to_layout(
        graph,
        "pooling",
        [data],
        out,
        layout,
        standard,
        alg="avg_exclude_pad",
        kernel=kernel,
        strides=kernel,
        dilations=[1] * dims,
        pads_begin=[0] * dims,
        pads_end=[0] * dims,
    )


RULES = (
    *(
        OpRule(f"nn.{alg}_pool{d}d", _check_window, _lower_window, f"{dtypes}; padding < window")
        for alg, dtypes in (("max", "float32, int8, uint8"), ("avg", "float32"))
        for d in (1, 2, 3)
    ),
    *(
        OpRule(
            f"nn.adaptive_avg_pool{d}d",
            _check_adaptive,
            _lower_adaptive,
            "float32; output 1, or a divisor of a static size",
        )
        for d in (1, 2, 3)
    ),
)
