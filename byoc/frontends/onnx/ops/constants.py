"""Constants, and tensors filled with one number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of
from byoc.frontends.normalise.fold import MAX_BYTES
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.frontends.onnx.ops.helpers import array_of, integers_of, number_of

__all__ = ["CONSTANTS"]


def constant(c: OnnxContext) -> Any:
    """Constant 1 to 24, every form of value but strings and sparse tensors."""
    for form, dtype in (("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if form in c.attrs:
            return const(c.attrs[form], dtype)
    if "value" not in c.attrs:
        raise ValueError(f"a constant given as {', '.join(c.attrs) or 'nothing'} is not supported")
    try:
        array = onnx.numpy_helper.to_array(c.attrs["value"])
    except (ValueError, TypeError, KeyError) as error:
        raise RefusedError(f"its value does not hold what its type says: {error}") from None
    if array.dtype == object:
        raise ValueError("a constant of strings is not supported")
    return const(array)


def constant_of_shape(c: OnnxContext) -> Any:
    """ConstantOfShape 9 to 24."""
    value = c.attrs.get("value")
    array = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    if not isinstance(c[0], GenericConst):
        shape = relax.ShapeExpr(integers_of(c, c[0], "shape"))
        return relax.op.full(shape, const(array.reshape(())), str(array.dtype))
    dims = [int(d) for d in array_of(c[0], "shape").reshape(-1)]
    if any(d < 0 for d in dims):
        raise RefusedError(f"the shape {dims} has a negative dimension")
    if math.prod(dims) * array.itemsize > 1 << 46:
        raise RefusedError(f"the shape {dims} is larger than any machine holds")
    if math.prod(dims) * array.itemsize <= MAX_BYTES:
        return const(np.broadcast_to(array.reshape(()), dims))
    return relax.op.full(dims, const(array.reshape(())), str(array.dtype))


def range_(c: OnnxContext) -> Any:
    """Range 11 to 27: of constants, of symbolic dimensions (its length is then known by name), else
    TVM's.
    """
    if all(isinstance(v, GenericConst) for v in c.inputs):
        start, limit, delta = (number_of(v, "operand") or 0 for v in c.inputs)
        if not delta or not math.isfinite(start + limit + delta):
            raise RefusedError(f"it counts from {start} to {limit} by {delta}")
        if (limit - start) / delta > MAX_BYTES / 8:
            raise RefusedError(f"it counts from {start} to {limit} by {delta}: too many elements")
        count = max(0, math.ceil((limit - start) / delta))
        return const(start + np.arange(count) * delta, dtype_of(c[0]))
    ends = [_dimension(v) for v in c.inputs]
    if None not in ends and isinstance(ends[2], int) and ends[2] > 0:
        start, limit, delta = ends
        return relax.op.arange(start, tirx.max(start, limit), delta, dtype="int64")
    return c.stock("Range")


def _dimension(value: Any) -> Any:
    """A whole number, or a symbolic dimension; None for other values."""
    if isinstance(value, GenericConst):
        return int(number_of(value, "operand") or 0) if dtype_of(value) == "int64" else None
    return value if tvm.ir.is_prim_expr(value) else None


CONSTANTS: Mapping[tuple[str, str], Converter] = {
    ("", "Constant"): constant,
    ("", "ConstantOfShape"): constant_of_shape,
    ("", "Range"): range_,
}
"""(domain, operator) → converter."""
