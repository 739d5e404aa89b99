"""ReverseSequence: the first elements of each row of a batch, in the opposite order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const
from byoc.frontends.onnx.context import OnnxContext, RefusedError

__all__ = ["REVERSING"]

op = relax.op


def reverse_sequence(c: OnnxContext) -> Any:
    """ReverseSequence 10; a length beyond the axis is an index out of range."""
    data, lengths = c[0], c[1]
    shape = getattr(data.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        raise ValueError("the number of dimensions of its data is not known")
    time, batch = int(c.attrs.get("time_axis", 0)), int(c.attrs.get("batch_axis", 1))
    if {time, batch} != {0, 1}:
        raise RefusedError(f"its axes are {time} of time and {batch} of the batch; legal are 0, 1")
    count, rows = shape.values[time], shape.values[batch]
    trailing = [1] * (len(shape.values) - 2)
    along, across = ([1, -1], [-1, 1]) if time == 1 else ([-1, 1], [1, -1])
    places = op.reshape(c.emit(op.arange(0, count, 1, "int64")), _sized([*along, *trailing], count))
    ends = c.emit(op.reshape(op.astype(lengths, "int64"), _sized([*across, *trailing], rows)))
    last = op.subtract(ends, const(1, np.int64))
    turned = c.emit(op.where(op.less(places, ends), op.subtract(last, places), places))
    return op.gather_elements(data, c.typed(op.broadcast_to(turned, shape)), time)


def _sized(dims: list[int], size: Any) -> list[Any]:
    return [size if d == -1 else d for d in dims]


REVERSING: Mapping[tuple[str, str], Converter] = {("", "ReverseSequence"): reverse_sequence}
"""(domain, operator) → converter."""
