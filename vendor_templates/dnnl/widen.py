"""float16 as float32: computed wide, narrow only where a tensor crosses the segment's border.

::

    x f16 ─ cast ─ conv ─ relu ─ matmul ─ cast ─▶ y f16
                   └──── float32 ─────┘            weights: float32 from the compiler on

A CPU computes float16 by way of float32 anyway, so rounding in between would only cost. Rules and
passes never see the dtype: checks look through `Wide`, and the segment is widened before lowering.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from byoc.segment import Array, Node, Segment, TensorType
from byoc.vendor_templates.dnnl.checks import Tensors

__all__ = ["NARROW", "Wide", "wide_node", "wide_segment"]

NARROW = "float16"
_WIDE = "float32"


class Wide:
    """Types and constants of a match or segment as the ops will compute them.

    Args:
        tensors: As the model has them.
    """

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def type(self, part: int, /) -> TensorType:
        """Type of a value."""
        return _wide_type(self._tensors.type(part))

    def constant(self, part: int, /) -> Array | None:
        """The array of a constant, else None."""
        array = self._tensors.constant(part)
        return None if array is None else _wide_array(array)


def wide_node(node: Node) -> Node:
    """Return an op whose attributes name the dtype that it computes in.

    Args:
        node: As the model has it.
    """
    if NARROW not in node.attrs.values():
        return node
    attrs: dict[str, Any] = {k: _WIDE if v == NARROW else v for k, v in node.attrs.items()}
    return replace(node, attrs=attrs)


def wide_segment(segment: Segment) -> Segment:
    """Return a segment that computes in float32 throughout; one without float16 stays as it is.

    Args:
        segment: As the partitioner gave it.
    """
    if all(kind.dtype != NARROW for kind in segment.values):
        return segment
    return replace(
        segment,
        values=tuple([_wide_type(kind) for kind in segment.values]),
        nodes=tuple([wide_node(node) for node in segment.nodes]),
        constants={value: _wide_array(array) for value, array in segment.constants.items()},
    )


def _wide_type(kind: TensorType) -> TensorType:
    return TensorType(kind.shape, _WIDE) if kind.dtype == NARROW else kind


def _wide_array(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
