"""Reductions and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from byoc.segment import Dim, Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import (
    Tensors,
    check_float,
    check_layout,
    check_one_of,
    first,
    normal_axes,
)
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.layout import to_layout, to_standard
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]

_REDUCTIONS = ("sum", "mean", "max", "min", "prod")
_POOLED = {"mean": "avg", "max": "max"}


def _kept(graph: DnnlGraph, value: int, axes: Sequence[int]) -> list[Dim]:
    """Shape after reducing, reduced axes kept as 1."""
    return [1 if a in axes else d for a, d in enumerate(graph.shape(value))]


def _lower_reduce(alg: str, graph: DnnlGraph, node: Node) -> None:
    """One reduction; the mean over all of an image is the global pooling of convolution nets."""
    (x,), out = node.inputs, node.outputs[0]
    rank = graph.rank(x)
    axes = normal_axes(node.attrs["axis"], rank)
    if rank >= 4 and axes == tuple(range(2, rank)) and alg in _POOLED:
        pooled = graph.emit("global_pooling", [x], _kept(graph, x, axes), alg=_POOLED[alg])
        graph.emit("reshape", [pooled], out=out)
        return
    graph.emit("reduction", [x], out=out, alg=alg, axes=list(axes))


def _check_reduce(node: Node, tensors: Tensors) -> Reject | None:
    if not tensors.type(node.inputs[0]).shape:
        return Reject(f"{node.op}: needs at least one dimension")
    return check_float(node, tensors)


def _lower_variance(root: bool, graph: DnnlGraph, node: Node) -> None:
    """``mean((x - mean(x))²)``, and its root for ``std``."""
    (x,), out = node.inputs, node.outputs[0]
    axes = list(normal_axes(node.attrs["axis"], graph.rank(x)))
    shape = graph.shape(x)
    mean = graph.emit("reduction", [x], _kept(graph, x, axes), alg="mean", axes=axes)
    centred = graph.emit("binary", [x, mean], shape, alg="sub")
    square = graph.emit("eltwise", [centred], shape, alg="square", alpha=0.0, beta=0.0)
    if not root:
        graph.emit("reduction", [square], out=out, alg="mean", axes=axes)
        return
    spread = graph.emit("reduction", [square], graph.shape(out), alg="mean", axes=axes)
    graph.emit("eltwise", [spread], out=out, alg="sqrt", alpha=0.0, beta=0.0)


_METHODS = {"nearest_neighbor": "nearest", "linear": "linear"}
_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_ROUNDINGS = ("", "round", "floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def _check_resize(node: Node, tensors: Tensors) -> Reject | None:
    return first(
        check_float(node, tensors),
        check_layout(node, "layout", "NCHW"),
        check_one_of(node, "method", tuple(_METHODS)),
        check_one_of(node, "coordinate_transformation_mode", _COORDINATES),
        check_one_of(node, "rounding_method", _ROUNDINGS),
        _check_sizes(node, tensors),
    )


def _check_sizes(node: Node, tensors: Tensors) -> Reject | None:
    """Two modes divide by (or compare with) the output size."""
    mode, layout = node.attrs["coordinate_transformation_mode"], node.attrs["layout"]
    shape = tensors.type(node.outputs[0]).shape
    sizes = [shape[layout.index(c)] for c in "HW"]
    if mode in ("align_corners", "pytorch_half_pixel") and not all(
        isinstance(s, int) and s > 1 for s in sizes
    ):
        return Reject(f"{node.op}: {mode} needs static output sizes above 1, found {tuple(sizes)}")
    return None


def _lower_resize(graph: DnnlGraph, node: Node) -> None:
    attrs = node.attrs
    mode = attrs["coordinate_transformation_mode"]
    data = to_standard(graph, node.inputs[0], attrs["layout"], "NCHW")
    rounding = attrs["rounding_method"] or ("round" if mode == "align_corners" else "floor")
    to_layout(
        graph,
        "resize",
        [data],
        node.outputs[0],
        attrs["layout"],
        "NCHW",
        alg=_METHODS[attrs["method"]],
        coordinate="half_pixel" if mode == "pytorch_half_pixel" else mode,
        rounding=rounding,
    )


RULES = (
    *(OpRule(op, _check_reduce, partial(_lower_reduce, op), "float32") for op in _REDUCTIONS),
    OpRule("variance", _check_reduce, partial(_lower_variance, False), "float32"),
    OpRule("std", _check_reduce, partial(_lower_variance, True), "float32"),
    OpRule(
        "image.resize2d",
        _check_resize,
        _lower_resize,
        "float32; nearest or linear; no cubic, no crop",
    ),
)
