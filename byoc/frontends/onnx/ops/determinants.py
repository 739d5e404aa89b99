"""Det: elimination with the largest element of a column as pivot, for a batch of matrices.

One step makes of m · m numbers (m - 1) · (m - 1), and takes the pivot as a factor::

    p  r r     the row of the pivot changes places with the first (sign), then
    q  a a     a - q / p · r       where every q is 0, so is the determinant
    q  a a
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, is_int, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError

__all__ = ["DETERMINANTS"]

op = relax.op

_LARGEST = 16  # each row is a step of a dozen ops


def determinant(c: OnnxContext) -> Any:
    """Det 11, 22."""
    data = c[0]
    shape = getattr(data.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr) or len(shape.values) < 2:
        raise ValueError("the shape of its matrices is not known")
    *lead, rows, columns = shape.values
    if not (is_int(rows) and is_int(columns)) or int(rows) > _LARGEST or not int(rows):
        raise ValueError(f"of matrices whose size is not known, is 0 or more than {_LARGEST}")
    size = int(rows)
    if size != int(columns):
        raise RefusedError(f"its matrices have {size} rows and {int(columns)} columns")
    rest = c.emit(op.reshape(data, [-1, size, size]))
    product: Any = None
    for left in range(size, 0, -1):
        product, rest = _step(c, rest, left, product)
    return op.reshape(product, lead)


def _step(c: OnnxContext, rest: Any, left: int, product: Any) -> tuple[Any, Any]:
    """The product with the next pivot, and what is left to eliminate."""
    count = rest.ty.shape.values[0]

    def part(value: Any, axis: int, begin: int, end: int) -> Any:
        return c.emit(op.strided_slice(value, [axis], [begin], [end]))

    first = part(rest, 2, 0, 1)
    at = c.emit(op.argmax(op.abs(first), axis=1, keepdims=True))  # [count, 1, 1]
    chosen = op.broadcast_to(at, [count, 1, left])
    row = c.emit(op.gather_elements(rest, c.typed(chosen), 1))
    pivot, one = part(row, 2, 0, 1), scalar_like(1, rest)
    swapped = op.not_equal(at, const(0, np.int64))
    signed = c.emit(op.where(swapped, op.negative(pivot), pivot))
    product = signed if product is None else c.emit(op.multiply(product, signed))
    if left == 1:
        return product, rest
    below = const(np.arange(1, left).reshape(1, -1, 1), np.int64)
    held = c.emit(op.where(op.equal(below, at), part(rest, 1, 0, 1), part(rest, 1, 1, left)))
    safe = op.where(op.equal(pivot, scalar_like(0, rest)), one, pivot)
    factor = c.emit(op.divide(part(held, 2, 0, 1), safe))
    below_right, right = part(held, 2, 1, left), part(row, 2, 1, left)
    return product, c.emit(op.subtract(below_right, op.multiply(factor, right)))


DETERMINANTS: Mapping[tuple[str, str], Converter] = {("", "Det"): determinant}
"""(domain, operator) → converter."""
