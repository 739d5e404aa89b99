"""Convolutions and transposed convolutions of 1 to 3 spatial dimensions, in any plain layout."""

from __future__ import annotations

from byoc.segment import Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import (
    Tensors,
    check_float,
    check_layout,
    check_one_of,
    first,
)
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.layout import SPATIAL, to_layout, to_standard
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]


def _dims(node: Node) -> int:
    """Spatial dimensions: the digit in ``nn.conv2d_transpose``."""
    return int(node.op.removeprefix("nn.conv")[0])


def _check(node: Node, tensors: Tensors) -> Reject | None:
    spatial = SPATIAL[_dims(node)]
    return first(
        check_float(node, tensors),
        check_layout(node, "data_layout", "NC" + spatial),
        check_layout(node, "out_layout", "NC" + spatial),
        check_layout(node, "kernel_layout", "OI" + spatial),
        check_one_of(node, "out_dtype", (None, "", "float32", "void")),
        _check_padding(node),
        _check_kernel(node, tensors),
    )


def _check_padding(node: Node) -> Reject | None:
    padding = node.attrs["padding"]
    if any(not isinstance(p, int) or p < 0 for p in padding):
        return Reject(f"{node.op}: padding {tuple(padding)} is not all static and >= 0")
    return None


def _check_kernel(node: Node, tensors: Tensors) -> Reject | None:
    data, weight = (tensors.type(v).shape for v in node.inputs[:2])
    if not all(isinstance(d, int) for d in weight):
        return Reject(f"{node.op}: weight shape {weight} is symbolic")
    channels = data[node.attrs["data_layout"].index("C")]
    if not isinstance(channels, int):
        return Reject(f"{node.op}: number of channels {channels!r} is symbolic")
    groups = int(node.attrs["groups"])
    layout = node.attrs["kernel_layout"]
    o, i = (weight[layout.index(c)] for c in "OI")
    # Transposed weights are [C, O/g]: there "I" counts all input channels.
    fed = i if node.op.endswith("_transpose") else (int(i) * groups if isinstance(i, int) else i)
    if fed != channels or (not node.op.endswith("_transpose") and int(o) % groups):
        return Reject(
            f"{node.op}: weight {weight} ({layout}) with {groups} groups does not fit "
            f"{channels} channels"
        )
    return None


def _lower(graph: DnnlGraph, node: Node) -> None:
    dims = _dims(node)
    spatial, attrs = SPATIAL[dims], node.attrs
    transposed = node.op.endswith("_transpose")
    data = to_standard(graph, node.inputs[0], attrs["data_layout"], "NC" + spatial)
    kernel = ("IO" if transposed else "OI") + spatial
    weight = to_standard(graph, node.inputs[1], attrs["kernel_layout"], kernel)
    padding = [int(p) for p in attrs["padding"]]
    to_layout(
        graph,
        "deconvolution" if transposed else "convolution",
        [data, weight],
        node.outputs[0],
        attrs["out_layout"] or attrs["data_layout"],
        "NC" + spatial,
        strides=[int(s) for s in attrs["strides"]],
        dilations=[int(d) for d in attrs["dilation"]],
        pads_begin=padding[:dims],
        pads_end=padding[dims:],
        groups=int(attrs["groups"]),
    )


_LIMITS = "float32; plain layouts; static weight shape and channels"

RULES = tuple(
    OpRule(f"nn.conv{dims}d{kind}", _check, _lower, _LIMITS, role="anchor")
    for kind in ("", "_transpose")
    for dims in (1, 2, 3)
)
