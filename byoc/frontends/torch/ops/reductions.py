"""Reductions, and orders along an axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import relax

from byoc.frontends.context import Converter
from byoc.frontends.torch.context import TorchContext

__all__ = ["REDUCTIONS"]

R = relax.op


def _axes(dim: Any, x: Any) -> list[int] | None:
    """None for all, as torch's None and [] mean."""
    if dim is None or dim == [] or dim == ():
        return None
    axes = [dim] if isinstance(dim, int) else list(dim)
    return [a % x.ty.ndim for a in axes] if x.ty.ndim else None


def _reduction(function: Any) -> Any:
    def convert(
        c: TorchContext, /, self: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None
    ) -> Any:
        x = c.cast(self, c.dtype)
        if not x.ty.ndim:
            return x
        if c.dtype != "bool":
            return function(x, _axes(dim, x), keepdims=keepdim)
        whole = c.emit(R.astype(x, "int8"))
        return c.cast(c.emit(function(whole, _axes(dim, x), keepdims=keepdim)), "bool")

    return convert


_REDUCTIONS = (
    ("sum", R.sum, ("default", "dim_IntList")), ("mean", R.mean, ("default", "dim")),
    ("prod", R.prod, ("default", "dim_int")), ("amax", R.max, ("default",)),
    ("amin", R.min, ("default",)), ("max", R.max, ("default",)), ("min", R.min, ("default",)),
)  # fmt: skip
"""Operator, TVM's function, overloads."""


def vector_norm(
    c: TorchContext,
    /,
    self: Any,
    ord: Any,  # noqa: A002
    dim: Any = None,
    keepdim: bool = False,
    dtype: Any = None,
) -> Any:
    size = c.emit(R.abs(c.cast(self, c.dtype)))
    if not size.ty.ndim:
        return size
    axes = _axes(dim, size)
    if ord in (np.inf, -np.inf):
        return (R.max if ord > 0 else R.min)(size, axes, keepdims=keepdim)
    if ord == 0:
        size = c.cast(c.emit(R.not_equal(size, c.const(0, c.dtype))), c.dtype)
    elif ord == 2:
        size = c.emit(R.multiply(size, size))
    elif ord != 1:
        size = c.emit(R.power(size, c.const(ord, c.dtype)))
    whole = c.emit(R.sum(size, axes, keepdims=keepdim))
    if ord in (0, 1):
        return whole
    return R.sqrt(whole) if ord == 2 else R.power(whole, c.const(1 / ord, c.dtype))


def any_all(c: TorchContext, /, self: Any, dim: Any = None, keepdim: bool = False) -> Any:
    function = R.max if c.node.target.__name__.startswith("any") else R.min
    truth = c.cast(self, "bool")
    if not self.ty.ndim:
        return c.cast(truth, c.dtype)
    whole = c.emit(function(c.emit(R.astype(truth, "int32")), _axes(dim, self), keepdims=keepdim))
    # over nothing, max is the least number (any is false) and min the largest (all is true)
    return c.cast(c.emit(R.greater(whole, c.const(0, "int32"))), c.dtype)


def argmax(c: TorchContext, /, self: Any, dim: Any, keepdim: bool) -> Any:
    function = R.argmax if c.node.target.__name__.startswith("argmax") else R.argmin
    if not self.ty.ndim:
        return c.const(0, "int64")
    return function(self, None if dim is None else dim % self.ty.ndim, keepdim)


def max_dim(c: TorchContext, /, self: Any, dim: int, keepdim: bool) -> Any:
    most = c.node.target.__name__.startswith("max")
    if not self.ty.ndim:
        return self, c.const(0, "int64")
    axis, dtype = dim % self.ty.ndim, str(self.ty.dtype)
    x = c.emit(R.astype(self, "int8")) if dtype == "bool" else self
    value = c.emit((R.max if most else R.min)(x, [axis], keepdims=keepdim))
    return c.cast(value, dtype), (R.argmax if most else R.argmin)(x, axis, keepdim)


def variance(
    c: TorchContext, /, self: Any, dim: Any = None, correction: Any = None, keepdim: bool = False
) -> Any:
    axes = _axes(dim, self)
    dims = c.dims(self)
    dtype = str(self.ty.dtype)
    count = math.prod(
        c.static(dims[a], "the number of values whose variance is taken")
        for a in (range(len(dims)) if axes is None else axes)
    )
    mean = c.emit(R.mean(self, axes, keepdims=True)) if dims else self
    apart = c.emit(R.subtract(self, mean))
    square = c.emit(R.multiply(apart, apart))
    result = c.emit(R.mean(square, axes, keepdims=keepdim)) if dims else square
    rest = count - (1 if correction is None else correction)
    factor = count / rest if rest > 0 else np.inf
    if factor != 1:
        result = c.emit(R.multiply(result, c.const(factor, dtype)))
    name = c.node.target.__name__
    if name.startswith("std"):
        return R.sqrt(result)
    if name.startswith("var_mean"):
        return result, R.reshape(mean, c.sizes.shape(c.meta[1].shape))
    return result


def cumsum(c: TorchContext, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    return R.cumsum(x, dim % self.ty.ndim, c.dtype) if self.ty.ndim else x


def cumprod(c: TorchContext, /, self: Any, dim: int, dtype: Any) -> Any:
    x = c.cast(self, c.dtype)
    return R.cumprod(x, dim % self.ty.ndim, c.dtype) if self.ty.ndim else x


def topk(c: TorchContext, /, self: Any, k: Any, dim: int, largest: bool, sorted: bool) -> Any:  # noqa: A002
    if not self.ty.ndim:
        return self, c.const(0, "int64")
    count = c.static(k, "the number of values that topk takes")
    call = R.topk(self, count, dim % self.ty.ndim, "both", largest, "int64")
    both = c.builder.emit(c.builder.normalize(call))
    return relax.TupleGetItem(both, 0), relax.TupleGetItem(both, 1)


def sort(c: TorchContext, /, self: Any, dim: int, descending: bool, stable: Any = None) -> Any:
    if not self.ty.ndim:
        return self, c.const(0, "int64")
    axis = dim % self.ty.ndim
    values = R.sort(self, axis, descending)
    return values, R.argsort(self, axis, descending, "int64")


def argsort(c: TorchContext, /, self: Any, dim: int, descending: bool, stable: Any = None) -> Any:
    if not self.ty.ndim:
        return c.const(0, "int64")
    return R.argsort(self, dim % self.ty.ndim, descending, "int64")


REDUCTIONS: Mapping[str, Converter] = {
    **{
        f"{name}.{overload}": _reduction(function)
        for name, function, overloads in _REDUCTIONS
        for overload in overloads
    },
    "all.default": any_all,
    "all.dim": any_all,
    "all.dims": any_all,
    "any.default": any_all,
    "any.dim": any_all,
    "any.dims": any_all,
    "argmax.default": argmax,
    "argmin.default": argmax,
    "argsort.default": argsort,
    "argsort.stable": argsort,
    "cumprod.default": cumprod,
    "cumsum.default": cumsum,
    "linalg_vector_norm.default": vector_norm,
    "max.dim": max_dim,
    "min.dim": max_dim,
    "sort.default": sort,
    "sort.stable": sort,
    "std.correction": variance,
    "topk.default": topk,
    "var.correction": variance,
    "var_mean.correction": variance,
}
"""ATen operator, as "name.overload" → converter."""
