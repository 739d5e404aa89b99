"""Sums of float16 and bfloat16, taken in float32.

In: calls of Relax ops that add many elements up. Out: the same of float32, rounded once::

    mean(x)   ──▶   float16(mean(float32(x)))

float16 ends at 65504, which a sum of 22 elements of 3000 passes though their mean does not, and the
1 + 1 + … of bfloat16 stays at 256. Kernels of byoc's own (`byoc.tir.kernels`) sum in float32 as
they are; this is for TVM's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax
from tvm.ir import GenericConst

__all__ = ["WIDE_SUMS", "summed_wide"]

_NARROW = ("float16", "bfloat16")
_WIDE = "float32"

_REDUCTIONS = (
    "relax.mean",
    "relax.nn.adaptive_avg_pool1d",
    "relax.nn.adaptive_avg_pool2d",
    "relax.nn.adaptive_avg_pool3d",
    "relax.nn.avg_pool1d",
    "relax.nn.avg_pool2d",
    "relax.nn.avg_pool3d",
    "relax.nn.nll_loss",
    "relax.prod",
    "relax.std",
    "relax.sum",
    "relax.variance",
)
_SCANS = ("relax.cumprod", "relax.cumsum")
_TRANSPOSED = tuple(f"relax.nn.conv{n}d_transpose" for n in (1, 2, 3))

WIDE_SUMS = (*_REDUCTIONS, *_SCANS, *_TRANSPOSED, "relax.einsum", "relax.matmul")
"""Ops that `summed_wide` takes."""


def summed_wide(call: Any, emit: Callable[[Any], Any]) -> Any:
    """Return a call of one of `WIDE_SUMS` that sums in float32, rounded to its own type.

    Args:
        call: The call; of another type, or with a kernel that sums in float32 anyway, it stays.
        emit: Binds an expression to a variable.

    """
    name, op = call.op.name, relax.op
    dtype = str(getattr(call.ty, "dtype", ""))
    if dtype not in _NARROW:
        return call

    def wide(expr: Any) -> Any:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([wide(field) for field in expr.fields])
        narrow = str(getattr(expr.ty, "dtype", "")) in _NARROW
        return emit(op.astype(expr, _WIDE)) if narrow else expr

    if name in _SCANS:
        if call.attrs.dtype is not None and str(call.attrs.dtype) not in ("", dtype):
            return call
        scan = getattr(op, name.removeprefix("relax."))
        axis = call.attrs.axis
        axis = None if axis is None else int(axis)
        result = scan(wide(call.args[0]), axis, _WIDE, call.attrs.exclusive)
    elif name == "relax.matmul":
        if all(a.ty.ndim > 1 for a in call.args):  # byoc's own kernel
            return call
        result = op.matmul(*map(wide, call.args), out_dtype=_WIDE)
    elif name in _TRANSPOSED:
        x, weight = call.args
        if isinstance(weight, GenericConst):  # byoc's own kernel
            return call
        attrs = call.attrs
        result = getattr(op.nn, name.removeprefix("relax.nn."))(
            wide(x),
            wide(weight),
            strides=list(attrs.strides),
            padding=list(attrs.padding),
            output_padding=list(attrs.output_padding),
            dilation=list(attrs.dilation),
            groups=int(attrs.groups),
            data_layout=str(attrs.data_layout),
            kernel_layout=str(attrs.kernel_layout),
            out_layout=str(attrs.out_layout),
            out_dtype=_WIDE,
        )
    else:
        result = tvm.ir.Call(call.op, [wide(a) for a in call.args], call.attrs, call.ty_args)
    return op.astype(emit(result), dtype)
