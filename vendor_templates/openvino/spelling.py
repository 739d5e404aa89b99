"""Ops written for OpenVINO in another way than usual, so that NaN stays NaN.

OpenVINO's CPU kernels take the processor's max and min, which answer the other operand where one is
NaN, and its comparison "greater" is true for NaN. Each op here has a spelling without them, or one
that puts NaN back; OpenVINO fuses what is added::

    relu(x)          Elu(x, alpha=0)            fused into convolutions and products like ReLU
    clip(x, a, b)    x < a ? a : x, then b < x ? b : x
    a > b, a >= b    b < a, b <= a
    exp(x)           x == x ? Exp(x) : x
    maximum(x, y)    x == x ? (y == y ? Max(x, y) : y) : x
    max_pool(x)      0 < max_pool(x == x ? 0 : 1) ? NaN : max_pool(x), and -inf of -inf
    softmax(x)       s = sum of Softmax(x): s == s ? Softmax(x) : NaN (Softmax keeps NaN in place
                     only); not before a product over the row, which that one place makes NaN
    relu(x), int32   Max(x, 0)                  ReLU goes through float32
"""

from __future__ import annotations

from byoc.kit.onnx_export import Export, ExportContext
from byoc.kit.onnx_export.nan_keeping import highest
from byoc.segment import Node, Segment

__all__ = ["SPELLING", "spelling"]

_SHARES = {"nn.log_softmax": "LogSoftmax", "nn.softmax": "Softmax"}


def _relu(c: ExportContext, node: Node, x: list[str]) -> str:
    dtype = c.dtype(node.inputs[0])
    if dtype == "float32":
        return c.one("Elu", x[0], alpha=0.0)
    return c.one("Max", x[0], c.constant(0, dtype))


def _clip(c: ExportContext, node: Node, x: list[str]) -> str:
    dtype = c.dtype(node.inputs[0])
    low, high = (c.constant(node.attrs[name], dtype) for name in ("min", "max"))
    if dtype != "float32":
        return c.one("Clip", x[0], low, high)
    raised = c.one("Where", c.one("Less", x[0], low), low, x[0])
    return c.one("Where", c.one("Less", high, raised), high, raised)


def _greater(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Less", x[1], x[0])


def _greater_equal(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("LessOrEqual", x[1], x[0])


def _exp(c: ExportContext, node: Node, x: list[str]) -> str:
    return c.one("Where", c.one("Equal", x[0], x[0]), c.one("Exp", x[0]), x[0])


def _pair(onnx_op: str) -> Export:
    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        y = c.one(onnx_op, *x)
        if c.dtype(node.inputs[0]) != "float32":
            return y
        for operand in reversed(x):
            y = c.one("Where", c.one("Equal", operand, operand), y, operand)
        return y

    return export


def _shares(multiplied: frozenset[int]) -> Export:
    """A softmax; `multiplied`: those that only products over the row read."""

    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        axis = int(node.attrs["axis"])
        y = c.one(_SHARES[node.op], x[0], axis=axis)
        if node.outputs[0] in multiplied:
            return y
        total = c.one("ReduceSum", y, c.constant([axis]), keepdims=1)
        return c.one("Where", c.one("Equal", total, total), y, total)

    return export


def spelling(segment: Segment) -> dict[str, Export]:
    """How the ops of a segment are written; softmax by who reads it.

    Args:
        segment: The segment.
    """
    shares = {
        node.outputs[0]: int(node.attrs["axis"]) % len(segment.type(node.outputs[0]).shape)
        for node in segment.nodes
        if node.op == "nn.softmax"
    }
    multiplied = {v for v, axis in shares.items() if axis == len(segment.type(v).shape) - 1}
    multiplied -= set(segment.outputs)
    for node in segment.nodes:
        rest = node.inputs[1:] if node.op == "matmul" else node.inputs
        multiplied -= set(rest)
    return {**SPELLING, "nn.softmax": _shares(frozenset(multiplied))}


SPELLING: dict[str, Export] = {
    "clip": _clip,
    "exp": _exp,
    "greater": _greater,
    "greater_equal": _greater_equal,
    "maximum": _pair("Max"),
    "minimum": _pair("Min"),
    "nn.relu": _relu,
    **dict.fromkeys(_SHARES, _shares(frozenset())),
    **{
        op: highest(op, from_least=True)
        for op in ("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d")
    },
}
"""Relax op → how it is written."""
