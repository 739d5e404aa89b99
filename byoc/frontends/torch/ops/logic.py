"""Comparisons, logic of bools and of bits, choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["LOGIC"]

R = relax.op


def _compare(function: Any) -> Any:
    def convert(c: TorchContext, /, self: Any, other: Any) -> Any:
        dtype = c.result_type("self", "other")
        if dtype == "bool":
            dtype = "int8"
        return function(c.cast(self, dtype), c.cast(other, dtype))

    return convert


_COMPARISONS = {
    "eq": R.equal, "ne": R.not_equal, "lt": R.less, "le": R.less_equal, "gt": R.greater,
    "ge": R.greater_equal,
}  # fmt: skip


def _logical(function: Any) -> Any:
    def convert(c: TorchContext, /, self: Any, other: Any) -> Any:
        return function(c.cast(self, "bool"), c.cast(other, "bool"))

    return convert


_LOGICAL = {
    "logical_and": R.logical_and, "logical_or": R.logical_or, "logical_xor": R.logical_xor,
}  # fmt: skip


def _bitwise(on_bool: Any, function: Any) -> Any:
    def convert(c: TorchContext, /, self: Any, other: Any) -> Any:
        use = on_bool if c.dtype == "bool" else function
        return use(c.cast(self, c.dtype), c.cast(other, c.dtype))

    return convert


_BITWISE = {
    "and": (R.logical_and, R.bitwise_and), "or": (R.logical_or, R.bitwise_or),
    "xor": (R.logical_xor, R.bitwise_xor),
}  # fmt: skip
"""Operator → (of bools, of whole numbers)."""


def bitwise_not(c: TorchContext, /, self: Any) -> Any:
    return R.logical_not(self) if c.dtype == "bool" else R.bitwise_not(self)


def where(c: TorchContext, /, condition: Any, self: Any, other: Any) -> Any:
    return R.where(c.cast(condition, "bool"), c.cast(self, c.dtype), c.cast(other, c.dtype))


def masked_fill(c: TorchContext, /, self: Any, mask: Any, value: Any) -> Any:
    return R.where(c.cast(mask, "bool"), c.cast(value, c.dtype), self)


LOGIC: Mapping[str, Converter] = {
    **{
        f"{name}.{overload}": _compare(function)
        for name, function in _COMPARISONS.items()
        for overload in ("Tensor", "Scalar")
    },
    **{f"{name}.default": _logical(function) for name, function in _LOGICAL.items()},
    **{
        f"{name}.{overload}": _bitwise(*functions)
        for kind, functions in _BITWISE.items()
        for name in (f"bitwise_{kind}", f"__{kind}__")
        for overload in ("Tensor", "Scalar", "Scalar_Tensor")
    },
    "bitwise_not.default": bitwise_not,
    "masked_fill.Scalar": masked_fill,
    "masked_fill.Tensor": masked_fill,
    "where.Scalar": where,
    "where.ScalarOther": where,
    "where.ScalarSelf": where,
    "where.self": where,
}
"""ATen operator, as "name.overload" → converter."""
