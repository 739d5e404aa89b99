"""Emit byoc's own kernels into a Relax function: choose tiles, pack constants, call TE."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from .kernels import matmul as mm
from .kernels.conv import ConvShape, choose_tile, conv, pack_weight
from .schedule.kernel import extent_of
from .target import Machine

__all__ = ["emit_conv", "emit_matmul"]

# AnnotateTIROpPattern keeps a pattern that is there: "may be followed by element-wise ops".
_FUSABLE = {"op_pattern": 4}


def _constant(expr: Any) -> np.ndarray[Any, Any] | None:
    return np.from_dlpack(expr.value) if isinstance(expr, GenericConst) else None


def _dims(expr: Any) -> list[Any]:
    return list(expr.ty.shape.values)


def _dtype(expr: Any) -> str:
    return str(expr.ty.dtype)


def emit_conv(builder: Any, call: Any, machine: Machine) -> Any:
    """A channel-major convolution as `kernels.conv`."""
    x, weight = call.args
    attrs = call.attrs
    rank = len(_dims(x)) - 2
    pads = [int(p) for p in attrs.padding]
    w_shape = [int(d) for d in _dims(weight)]
    channels = extent_of(_dims(x)[1])
    if channels is None:
        return call
    shape = ConvShape(
        in_channels=channels,
        out_channels=w_shape[0],
        kernel=tuple(w_shape[2:]),
        strides=tuple(int(s) for s in attrs.strides),
        dilations=tuple(int(d) for d in attrs.dilation),
        pads_begin=tuple(pads[:rank]),
        pads_end=tuple(pads[rank:]),
        groups=int(attrs.groups),
    )
    out_dtype, dtype = _dtype(call), _sum_dtype(_dtype(call))
    lanes = machine.lanes("float32")
    space = _dims(x)[2:]
    out_row = extent_of(_dims(call)[-1])
    view = None
    sizes = [extent_of(d) for d in space]
    if shape.pointwise and rank > 1 and None not in sizes:
        flat = prod(s for s in sizes if s is not None)
        tile = choose_tile(shape, flat, lanes, machine.registers, row=sizes[-1])
        if tile is not None:
            view = tuple(s for s in sizes if s is not None)
            one = (1,)
            shape = ConvShape(shape.in_channels, shape.out_channels, one, one, one, (0,), (0,), shape.groups)
            x = builder.emit(relax.op.reshape(x, [*_dims(x)[:2], flat]))
    if view is None:
        tile = choose_tile(shape, out_row, lanes, machine.registers)
    values = _constant(weight)
    if values is not None:
        weight = relax.const(pack_weight(values.reshape(*w_shape[:2], *shape.kernel), shape, tile, lanes), _dtype(weight))
    elif view is not None:
        weight = builder.emit(relax.op.reshape(weight, [*w_shape[:2], 1]))
    return builder.call_te(
        partial(conv, shape=shape, tile=tile, lanes=lanes, dtype=dtype, out_dtype=out_dtype, packed=values is not None, view=view),
        x, weight,
        primfunc_name_hint="conv2d", primfunc_attrs=_FUSABLE,
    )


def emit_matmul(builder: Any, call: Any, machine: Machine) -> Any | None:
    """A matrix product as `kernels.matmul`; None for vectors, which TOPI serves."""
    a, b = call.args
    if min(len(_dims(a)), len(_dims(b))) < 2:
        return None
    *batch, rows, depth = _dims(a)
    columns = _dims(b)[-1]
    sizes = [extent_of(d) for d in (*batch, rows)]
    flatten = len(_dims(b)) == 2 and bool(batch) and None not in sizes
    view, unit = None, None
    if flatten:
        view, unit = [s for s in sizes if s is not None], sizes[-1]
        rows = prod(view)
        a = builder.emit(relax.op.reshape(a, [rows, depth]))
    lanes = machine.lanes("float32")
    width = extent_of(columns)
    tile = mm.choose_tile(extent_of(rows), width, lanes, machine.registers, unit)
    values = _constant(b)
    if values is not None:
        b = relax.const(mm.pack_columns(values, tile.columns), _dtype(b))
    out_dtype = _dtype(call)
    return builder.call_te(
        partial(
            mm.matmul,
            tile=tile,
            lanes=lanes,
            columns=columns if width is None else width,
            dtype=_sum_dtype(out_dtype),
            out_dtype=out_dtype,
            packed=values is not None,
            view=view,
        ),
        a,
        b,
        primfunc_name_hint="matmul",
        primfunc_attrs=_FUSABLE,
    )


def _sum_dtype(dtype: str) -> str:
    """Half precision is summed in single precision."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype
