"""Constants, and tensors filled with one number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.normalise.fold import MAX_BYTES
from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    RefusedError,
    array_of,
    const,
    dtype_of,
    number_of,
    stock_converter,
)

__all__ = ["CONSTANTS"]


def constant(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Constant 1 to 24, every form of value but strings and sparse tensors."""
    for form, dtype in (("value_float", np.float32), ("value_floats", np.float32),
                        ("value_int", np.int64), ("value_ints", np.int64)):  # fmt: skip
        if form in attrs:
            return const(attrs[form], dtype)
    if "value" not in attrs:
        raise ValueError(f"a constant given as {', '.join(attrs) or 'nothing'} is not supported")
    try:
        array = onnx.numpy_helper.to_array(attrs["value"])
    except (ValueError, TypeError, KeyError) as error:
        raise RefusedError(f"its value does not hold what its type says: {error}") from None
    if array.dtype == object:
        raise ValueError("a constant of strings is not supported")
    return const(array)


def constant_of_shape(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """ConstantOfShape 9 to 24."""
    value = attrs.get("value")
    array = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    if not isinstance(x[0], GenericConst):
        shape = x[0]
        if not isinstance(shape.ty, relax.ShapeType):
            shape = bb.normalize(relax.op.tensor_to_shape(shape))
        return relax.op.full(shape, const(array.reshape(())), str(array.dtype))
    dims = [int(d) for d in array_of(x[0], "shape").reshape(-1)]
    if any(d < 0 for d in dims):
        raise RefusedError(f"the shape {dims} has a negative dimension")
    if math.prod(dims) * array.itemsize > 1 << 46:
        raise RefusedError(f"the shape {dims} is larger than any machine holds")
    if math.prod(dims) * array.itemsize <= MAX_BYTES:
        return const(np.broadcast_to(array.reshape(()), dims))
    return relax.op.full(dims, const(array.reshape(())), str(array.dtype))


def range_(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Range 11 to 27: of constants, of symbolic dimensions (its length is then known by name), else
    TVM's.
    """
    if all(isinstance(v, GenericConst) for v in x):
        start, limit, delta = (number_of(v, "operand") or 0 for v in x)
        if not delta or not math.isfinite(start + limit + delta):
            raise RefusedError(f"it counts from {start} to {limit} by {delta}")
        if (limit - start) / delta > MAX_BYTES / 8:
            raise RefusedError(f"it counts from {start} to {limit} by {delta}: too many elements")
        count = max(0, math.ceil((limit - start) / delta))
        return const(start + np.arange(count) * delta, dtype_of(x[0]))
    ends = [_dimension(v) for v in x]
    if None not in ends and isinstance(ends[2], int) and ends[2] > 0:
        return relax.op.arange(*ends, dtype="int64")
    return stock_converter("Range")(bb, x, attrs, opset, outputs)


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
