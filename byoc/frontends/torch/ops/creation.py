"""Operators that make values: constants, ranges, triangles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["CREATION"]

R = relax.op


def _full(c: TorchContext, value: Any) -> Any:
    shape, known = c.shape, isinstance(value, (bool, int, float))
    if known and all(isinstance(d, int) for d in shape) and math.prod(shape) <= 1 << 16:
        return c.const(np.full(shape, value), c.dtype)
    return R.full(c.shape, c.cast(value, c.dtype), c.dtype)


def full(
    c: TorchContext,
    /,
    self: Any = None,
    size: Any = None,
    fill_value: Any = None,
    value: Any = None,
    dtype: Any = None,
    requires_grad: Any = None,
) -> Any:
    wanted = fill_value if value is None else value
    if isinstance(wanted, relax.Expr) and not tvm.ir.is_prim_expr(wanted):
        return R.broadcast_to(c.cast(wanted, c.dtype), c.shape)
    return _full(c, wanted)


def _filled(number: int) -> Any:
    def convert(
        c: TorchContext, /, self: Any = None, size: Any = None, dtype: Any = None,
        requires_grad: Any = None, physical_layout: Any = None, stride: Any = None,
    ) -> Any:  # fmt: skip
        return _full(c, number)

    return convert


_FILLED = {
    "zeros": 0, "ones": 1, "zeros_like": 0, "ones_like": 1, "new_zeros": 0, "new_ones": 1,
    "zero": 0, "empty": 0, "empty_like": 0, "new_empty": 0, "empty_permuted": 0,
    "empty_strided": 0, "new_empty_strided": 0,
}  # fmt: skip
"""Operator → the number it fills a tensor with; of memory that is not initialised, too."""


def scalar_tensor(c: TorchContext, /, s: Any, dtype: Any) -> Any:
    return c.cast(s, c.dtype)


def arange(c: TorchContext, /, end: Any, start: Any = 0, step: Any = 1, dtype: Any = None) -> Any:
    numbers = [start, end, step]
    if all(isinstance(n, (int, float)) for n in numbers):
        count = c.static(c.shape[0], "the length of a range")
        if "float" in c.dtype:
            return c.const(start + step * np.arange(count, dtype=np.float64), c.dtype)
        # torch cuts start and step to whole numbers
        return c.const(int(start) + int(step) * np.arange(count, dtype=np.int64), c.dtype)
    whole = c.emit(R.arange(start, end, step, "int64"))
    return c.cast(whole, c.dtype)


def linspace(c: TorchContext, /, start: Any, end: Any, steps: Any, dtype: Any) -> Any:
    if not all(isinstance(n, (int, float)) for n in (start, end, steps)):
        raise ValueError("linspace between values known only at run time is not imported")
    return c.const(np.linspace(start, end, steps), c.dtype)


def eye(c: TorchContext, /, n: Any, m: Any = None, dtype: Any = None) -> Any:
    rows, columns = (c.static(d, "the size of an identity matrix") for d in c.shape)
    return c.const(np.eye(rows, columns), c.dtype)


def triangle(c: TorchContext, /, self: Any, diagonal: int) -> Any:
    function = R.tril if c.node.target.__name__.startswith("tril") else R.triu
    if c.dtype == "bool":
        whole = c.emit(function(c.emit(R.astype(self, "int8")), diagonal))
        return R.not_equal(whole, c.const(0, "int8"))
    return function(self, diagonal)


CREATION: Mapping[str, Converter] = {
    **{
        f"{name}.{overload}": _filled(number)
        for name, number in _FILLED.items()
        for overload in ("default", "memory_format")
    },
    "arange.default": arange,
    "arange.start": arange,
    "arange.start_step": arange,
    "eye.default": eye,
    "eye.m": eye,
    "fill.Scalar": full,
    "fill.Tensor": full,
    "full.default": full,
    "full_like.default": full,
    "linspace.default": linspace,
    "new_full.default": full,
    "scalar_tensor.default": scalar_tensor,
    "tril.default": triangle,
    "triu.default": triangle,
}
"""ATen operator, as "name.overload" → converter."""
