"""Casts, of numbers and of bits.

TVM writes casts to integers as nine ops, and has no exact conversion of numbers of eight bits and
less. Those of eight bits are so few that a table holds what each of them is::

    float8 ─ bitcast ─▶ uint8 ─ take of 256 numbers ─▶ float32
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.context import Converter
from byoc.frontends.helpers import const, dtype_of, scalar_like
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.ir.arrays import to_numpy
from byoc.kit.own_ops import BITCAST, own_call

__all__ = ["CASTS"]

_WIDE = ("float16", "bfloat16", "float32", "float64")
_NARROW = ("float4_", "float6_", "float8_", "int2", "int4", "uint2", "uint4")


def cast(c: OnnxContext) -> Any:
    """Cast 6 to 25, CastLike 15 to 25 between numbers; TVM's kernels for types of eight bits and
    less do not keep NaN and do not saturate.
    """
    if not isinstance(c[0], GenericConst) and isinstance(c[0].ty, relax.TensorType):
        kinds = (dtype_of(c[0]), _target(c))
        narrow = [k for k in kinds if k.startswith(_NARROW)]
        if kinds[0].startswith("float8_") and kinds[1] in _WIDE:
            return _looked_up(c, *kinds)
        if narrow and kinds[0] != kinds[1]:
            raise ValueError(f"TVM has no exact conversion of {' to '.join(kinds)}")
    if c[1] is not None:
        to = onnx.helper.np_dtype_to_tensor_dtype(_numpy(dtype_of(c[1])))
        c = c.reading(c.inputs[:1], {"to": to})
    return _between_numbers(c)


def _looked_up(c: OnnxContext, source: str, target: str) -> Any:
    """Numbers of eight bits as what a table says of their bits."""
    table = np.arange(256, dtype=np.uint8).view(_numpy(source)).astype(_numpy(target))
    places = c.emit(relax.op.astype(c.emit(bits_as(c[0], "uint8")), "int32"))
    return relax.op.take(const(table), c.emit(relax.op.reshape(places, c[0].ty.shape)), 0, "fast")


def bits_as(value: Any, dtype: str) -> Any:
    """The bits of numbers as numbers of another dtype of the same width.

    Args:
        value: A typed Relax tensor.
        dtype: The dtype.
    """
    return own_call(BITCAST, [value], [relax.TensorType(value.ty.shape, dtype)], {})


def bit_cast(c: OnnxContext) -> Any:
    """BitCast 26: between dtypes of one width."""
    source, target = dtype_of(c[0]), _target(c)
    if "object" in (source, target) or not isinstance(c[0].ty, relax.TensorType):
        raise ValueError("it reads or makes texts, which have no bits")
    widths = [_bits(kind) for kind in (source, target)]
    if widths[0] != widths[1]:
        raise RefusedError(
            f"it reads {source} of {widths[0]} bits as {target} of {widths[1]}; legal are dtypes "
            f"of {widths[0]} bits"
        )
    if source == target:
        return c[0]
    if "bool" in (source, target) or widths[0] < 8:
        raise ValueError(f"the bits of {source} as {target} are not supported")
    if isinstance(c[0], GenericConst) and not target.startswith("float8_"):
        return const(to_numpy(c[0].value).view(_numpy(target)))
    return bits_as(c[0], target)


def _bits(dtype: str) -> int:
    found = re.search(r"(?:int|float)(\d+)", dtype)
    return 8 if found is None else int(found[1])


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
    ("", "BitCast"): bit_cast,
    ("", "Cast"): cast,
    ("", "CastLike"): cast,
}
"""(domain, operator) → converter."""
