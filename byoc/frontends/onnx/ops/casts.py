"""Casts.

TVM writes casts to integers as nine ops.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import dtype_of, scalar_like
from byoc.frontends.onnx.context import OnnxContext

__all__ = ["CASTS"]

_NARROW = ("float4_", "float6_", "float8_", "int2", "int4", "uint2", "uint4")


def cast(c: OnnxContext) -> Any:
    """Cast 6 to 25, CastLike 15 to 25 between numbers; TVM's kernels for types of eight bits and
    less do not keep NaN and do not saturate.
    """
    if not isinstance(c[0], GenericConst) and isinstance(c[0].ty, relax.TensorType):
        kinds = (dtype_of(c[0]), _target(c))
        narrow = [k for k in kinds if k.startswith(_NARROW)]
        if narrow and kinds[0] != kinds[1]:
            raise ValueError(f"TVM has no exact conversion of {' to '.join(kinds)}")
    if c[1] is not None:
        to = onnx.helper.np_dtype_to_tensor_dtype(_numpy(dtype_of(c[1])))
        c = c.reading(c.inputs[:1], {"to": to})
    return _between_numbers(c)


def _target(c: OnnxContext) -> str:
    if c[1] is not None:
        return dtype_of(c[1])
    return str(onnx.helper.tensor_dtype_to_np_dtype(c.attrs["to"]))


def _numpy(name: str) -> np.dtype[Any]:
    import ml_dtypes  # noqa: F401  registers the small types

    return np.dtype(name)


def _between_numbers(c: OnnxContext) -> Any:
    """Cast 6 to 24 between numbers; what does not fit an integer is undefined, as in ONNX."""
    to = c.attrs["to"]
    if not isinstance(c[0].ty, relax.TensorType) or isinstance(c[0], GenericConst):
        return c.stock("Cast")
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(to))
    if dtype == "object":
        raise ValueError("a cast to strings is not supported")
    if dtype_of(c[0]) == dtype:
        return c[0]
    if dtype == "bool":
        return relax.op.not_equal(c[0], scalar_like(0, c[0]))
    return relax.op.astype(c[0], dtype)


CASTS: Mapping[tuple[str, str], Converter] = {
    ("", "Cast"): cast,
    ("", "CastLike"): cast,
}
"""(domain, operator) → converter."""
