"""Quantisation: `quantize` and `dequantize`, with numbers known when the model is compiled.

Weights and biases arrive as integers behind a `dequantize` of their own. It becomes a
``dequantize_constant``, a kind that lives only while passes run: either an op takes the integers
(passes/quantised.py), or `fold_dequantized` multiplies them out.
"""

from __future__ import annotations

import numpy as np

from byoc.segment import Array, Node
from byoc.vendor import Reject
from byoc.vendor_templates.dnnl.checks import Tensors, axis_of, check_dtypes, first
from byoc.vendor_templates.dnnl.graph import DnnlGraph
from byoc.vendor_templates.dnnl.ops.rule import OpRule

__all__ = ["RULES"]

_INT8 = ("int8", "uint8")
"""Dtypes of quantised values."""


def _check_numbers(node: Node, tensors: Tensors) -> Reject | None:
    """Scale and zero point are constants, and scales positive numbers."""
    scale, zero = (tensors.constant(v) for v in node.inputs[1:3])
    if scale is None or zero is None:
        return Reject(f"{node.op}: scale and zero point must be constants")
    if scale.dtype != np.float32 or not np.issubdtype(zero.dtype, np.integer):
        return Reject(
            f"{node.op}: needs a float32 scale and an integer zero point, "
            f"found {scale.dtype} and {zero.dtype}"
        )
    smallest = np.finfo(np.float32).tiny
    if not (np.isfinite(scale).all() and (scale >= smallest).all()):
        return Reject(f"{node.op}: a scale is not a positive, finite, normal number")
    return None


def _check_single(node: Node, tensors: Tensors) -> Reject | None:
    """An activation has one scale and one zero point."""
    for value in node.inputs[1:3]:
        array = tensors.constant(value)
        if array is not None and np.unique(array).size != 1:
            return Reject(
                f"{node.op}: {array.size} scales or zero points on an activation; "
                "only constants may have more than one"
            )
    return None


def _check_quantize(node: Node, tensors: Tensors) -> Reject | None:
    return first(
        check_dtypes(node, tensors, node.inputs[:1], ("float32",)),
        check_dtypes(node, tensors, node.outputs, _INT8),
        _check_numbers(node, tensors),
        _check_single(node, tensors),
        _check_zero(node, tensors, node.outputs[0]),
    )


def _check_zero(node: Node, tensors: Tensors, value: int) -> Reject | None:
    """The zero point is one of the dtype's values."""
    zero, dtype = tensors.constant(node.inputs[2]), tensors.type(value).dtype
    limits = np.iinfo(dtype)
    if zero is not None and not ((zero >= limits.min) & (zero <= limits.max)).all():
        return Reject(f"{node.op}: a zero point is no {dtype}")
    return None


def _check_dequantize(node: Node, tensors: Tensors) -> Reject | None:
    constant = tensors.constant(node.inputs[0]) is not None
    return first(
        check_dtypes(node, tensors, node.outputs, ("float32",)),
        check_dtypes(node, tensors, node.inputs[:1], (*_INT8, "int32") if constant else _INT8),
        _check_numbers(node, tensors),
        None if constant else _check_single(node, tensors),
        None if constant else _check_zero(node, tensors, node.inputs[0]),
    )


def _numbers(graph: DnnlGraph, node: Node) -> tuple[Array, Array]:
    return tuple(np.ravel(graph.constants[v]) for v in node.inputs[1:3])  # type: ignore[return-value]


def _lower_quantize(graph: DnnlGraph, node: Node) -> None:
    scale, zero = _numbers(graph, node)
    graph.emit(
        "quantize", node.inputs[:1], out=node.outputs[0], scale=float(scale[0]), zero=int(zero[0])
    )


def _lower_dequantize(graph: DnnlGraph, node: Node) -> None:
    scale, zero = _numbers(graph, node)
    data, out = node.inputs[0], node.outputs[0]
    if data not in graph.constants:
        graph.emit("dequantize", [data], out=out, scale=float(scale[0]), zero=int(zero[0]))
        return
    rank = graph.rank(data)
    axis = axis_of(int(node.attrs.get("axis", -1)), rank) if max(scale.size, zero.size) > 1 else 0
    graph.emit("dequantize_constant", [data], out=out, scale=scale, zero=zero, axis=axis)


_LIMITS = "int8 or uint8; one constant scale and zero point; constants: any axis, int32 too"

RULES = (
    OpRule("quantize", _check_quantize, _lower_quantize, _LIMITS),
    OpRule("dequantize", _check_dequantize, _lower_dequantize, _LIMITS),
)
