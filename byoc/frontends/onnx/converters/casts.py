"""Casts.

TVM writes casts to integers as nine ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.onnx.converters.tools import (
    Attributes,
    Converter,
    Inputs,
    dtype_of,
    scalar_like,
    stock_converter,
)
from byoc.support.dtypes import numpy_dtype

__all__ = ["CASTS"]

_NARROW = ("float4_", "float6_", "float8_", "int2", "int4", "uint2", "uint4")


def cast(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Cast 6 to 25, CastLike 15 to 25 between numbers; TVM's kernels for types of eight bits and
    less do not keep NaN and do not saturate.
    """
    if opset < 0 or isinstance(x[0], GenericConst) or not isinstance(x[0].ty, relax.TensorType):
        return _with_target(bb, x, attrs, opset, outputs)
    kinds = (dtype_of(x[0]), _target(x, attrs))
    narrow = [k for k in kinds if k.startswith(_NARROW)]
    if narrow and kinds[0] != kinds[1]:
        raise ValueError(f"TVM has no exact conversion of {' to '.join(kinds)}")
    return _with_target(bb, x, attrs, opset, outputs)


def _target(x: Inputs, attrs: Attributes) -> str:
    if x[1] is not None:
        return dtype_of(x[1])
    return str(onnx.helper.tensor_dtype_to_np_dtype(attrs["to"]))


def _with_target(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    if x[1] is not None:
        attrs = {"to": onnx.helper.np_dtype_to_tensor_dtype(numpy_dtype(dtype_of(x[1])))}
        x = Inputs(x[:1])
    return _between_numbers(bb, x, attrs, opset, outputs)


def _between_numbers(bb: Any, x: Inputs, attrs: Attributes, opset: int, outputs: int) -> Any:
    """Cast 6 to 24 between numbers; what does not fit an integer is undefined, as in ONNX."""
    to = attrs["to"]
    if not isinstance(x[0].ty, relax.TensorType) or isinstance(x[0], GenericConst):
        return stock_converter("Cast")(bb, x, attrs, opset, outputs)
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(to))
    if dtype == "object":
        raise ValueError("a cast to strings is not supported")
    if str(x[0].ty.dtype) == dtype:
        return x[0]
    if dtype == "bool":
        return relax.op.not_equal(x[0], scalar_like(0, x[0]))
    return relax.op.astype(x[0], dtype)


CASTS: Mapping[tuple[str, str], Converter] = {
    ("", "Cast"): cast,
    ("", "CastLike"): cast,
}
"""(domain, operator) → converter."""
