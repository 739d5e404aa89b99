"""Which operators have a converter, and which can be kept whole."""

from __future__ import annotations

import onnx

from byoc.frontends.onnx.nodes import domain_of
from byoc.frontends.onnx.ops.table import OPERATORS
from byoc.frontends.onnx.stock import stock_converters

__all__ = [
    "SEQUENCES",
    "TAKES_NUMBERS",
    "TAKES_SHAPES",
    "known_operator",
    "opaque_operator",
]

_ENGINE_DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
"""Domains whose operators ONNX Runtime knows without being told."""

_CONTROL = {"If", "Loop", "Scan"}

TAKES_SHAPES = {
    "Cast", "CastLike", "Concat", "ConstantOfShape", "Equal", "Expand", "Gather", "Reshape",
    "Resize", "Shape", "Slice", "Squeeze", "Unsqueeze", "Where",
}  # fmt: skip
"""Operators whose converters understand shapes of symbolic dimensions; others get a tensor."""

TAKES_NUMBERS = TAKES_SHAPES | {
    "Add", "Div", "GroupQueryAttention", "Mod", "Mul", "Pow", "Range", "Sub",
}  # fmt: skip

SEQUENCES = {
    "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SplitToSequence",
}  # fmt: skip
"""Operators whose result is one Relax tuple (a sequence), not one value per output."""


def known_operator(node: onnx.NodeProto) -> bool:
    """True when there is a converter for the node's operator."""
    domain, op = domain_of(node), node.op_type
    if (domain, op) in OPERATORS or (not domain and op in _CONTROL):
        return True
    return not domain and op in stock_converters() and op != "Attention"


def opaque_operator(node: onnx.NodeProto) -> bool:
    """True when a node without a converter can be kept whole: ONNX Runtime may know it."""
    domain = domain_of(node)
    if domain == "com.microsoft":
        return True
    return domain in _ENGINE_DOMAINS and onnx.defs.has(node.op_type, domain)
