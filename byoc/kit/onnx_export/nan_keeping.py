"""Spellings that keep NaN, for engines whose maximum answers the other operand.

In: a Relax op. Out: an `Export` of it that an engine gives as one of its own. What is added are
element-wise ops, which engines fuse, and for a pool a second one::

    max of many    0 < max(x == x ? 0 : 1) ? NaN : max(x)

Pools begin at the least number: of -inf alone they make that. There the second one tells three
cases apart, ``k = max(x == x ? (-inf < x ? 0 : -1) : 1)``: -1 is -inf.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from byoc.kit.onnx_export.context import Export, ExportContext
from byoc.kit.onnx_export.ops import EXPORTS
from byoc.segment import Node

__all__ = ["highest"]

_FLOATS = ("float16", "float32", "float64")


def highest(op: str, sign: float = 1.0, *, from_least: bool = False) -> Export:
    """Spell a maximum of many numbers so that it is NaN where one of them is.

    Args:
        op: The Relax op ("max", "nn.max_pool2d").
        sign: -1 for a minimum.
        from_least: The engine's maximum of -inf alone is the least number.

    Returns:
        The spelling; of whole numbers it is the usual one.

    """

    def export(c: ExportContext, node: Node, x: list[str]) -> str:
        usual, dtype = EXPORTS[op], c.dtype(node.inputs[0])
        (y,) = _names(usual(c, node, x))
        if dtype not in _FLOATS:
            return y
        zero, one, nan = (c.constant(v, dtype) for v in (0.0, sign, np.nan))
        number = zero
        if from_least:
            none, below = (c.constant(v, dtype) for v in (-np.inf, -1.0))
            number = c.one("Where", c.one("Less", none, x[0]), zero, below)
        lost = c.one("Where", c.one("Equal", x[0], x[0]), number, one)
        (any_lost,) = _names(usual(c, node, [lost]))
        if from_least:
            y = c.one("Where", c.one("Less", any_lost, zero), none, y)
        pair = (zero, any_lost) if sign > 0 else (any_lost, zero)
        return c.one("Where", c.one("Less", *pair), nan, y)

    return export


def _names(made: str | Sequence[str]) -> Sequence[str]:
    return [made] if isinstance(made, str) else made
