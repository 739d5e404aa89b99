"""Emit byoc's own kernels into a Relax function: choose tiles, pack constants, call TE."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from .kernels.conv import ConvShape, choose_tile, conv, pack_weight
from .schedule.kernel import extent_of
from .target import Machine

__all__ = ["emit_conv"]

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
    dtype = _dtype(call)
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
        weight = relax.const(pack_weight(values.reshape(*w_shape[:2], *shape.kernel), shape, tile), _dtype(weight))
    return builder.call_te(
        partial(conv, shape=shape, tile=tile, lanes=lanes, dtype=dtype, packed=values is not None, view=view),
        x, weight,
        primfunc_name_hint="conv2d", primfunc_attrs=_FUSABLE,
    )
