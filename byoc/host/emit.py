"""Emit byoc's own kernels into a Relax function: choose tiles, pack constants, call TE.

In: calls of Relax ops. Out: calls of the tensor expressions in `byoc.tir.kernels`, or None where
TOPI serves as well. Constant weights are packed at compile time, or (`pack=False`) left as they are
and packed by a stage of the kernel: that costs time in every call, and lets others share them.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import numpy as np
from tvm import relax, topi
from tvm.ir import GenericConst

from byoc.ir.arrays import from_numpy, to_numpy
from byoc.runtime.io.mapped_memory import drop_pages
from byoc.tir.kernels import matmul as mm
from byoc.tir.kernels import row_kernels as rows
from byoc.tir.kernels.conv import (
    ConvShape,
    Tile,
    choose_tile,
    conv,
    pack_weight,
    turn_weight,
    turn_weight_te,
)
from byoc.tir.schedule.kernel import extent_of
from byoc.tir.target import Machine

__all__ = [
    "emit_conv",
    "emit_layer_norm",
    "emit_matmul",
    "emit_rms_norm",
    "emit_softmax",
    "emit_transposed_conv",
]

# AnnotateTIROpPattern keeps a pattern that is there: "may be followed by element-wise ops".
_FUSABLE = {"op_pattern": 4}


def _constant(expr: Any) -> np.ndarray[Any, Any] | None:
    return to_numpy(expr.value) if isinstance(expr, GenericConst) else None


def _instead(values: np.ndarray[Any, Any], packed: np.ndarray[Any, Any]) -> Any:
    """A constant of what replaces `values`, whose pages of the model file need not stay."""
    drop_pages(values)
    return relax.const(from_numpy(packed))


def _dims(expr: Any) -> list[Any]:
    return list(expr.ty.shape.values)


def _dtype(expr: Any) -> str:
    return str(expr.ty.dtype)


def emit_conv(builder: Any, call: Any, machine: Machine, *, pack: bool = True) -> Any | None:
    """Emit a convolution as `byoc.tir.kernels.conv`.

    Channel-last data is turned around on the way in and out.

    Args:
        builder: The block builder of the function.
        call: The op.
        machine: What tiles are chosen for.
        pack: Lay constant weights out at compile time.

    Returns:
        The call, or None for layouts and shapes that the kernel does not know.

    """
    x, weight = call.args
    attrs = call.attrs
    spatial = "DHW"[3 - (len(_dims(x)) - 2) :]
    layouts = (str(attrs.data_layout), str(attrs.kernel_layout))
    if str(attrs.out_layout) != layouts[0] or sorted(layouts[1]) != sorted("OI" + spatial):
        return None
    if sorted(layouts[0]) != sorted("NC" + spatial):
        return None
    x = _permute(builder, x, layouts[0], "NC" + spatial)
    weight = _permute(builder, weight, layouts[1], "OI" + spatial, fold=pack)
    rank = len(spatial)
    pads = [int(p) for p in attrs.padding]
    sizes = [extent_of(d) for d in _dims(weight)]
    channels = extent_of(_dims(x)[1])
    if channels is None or None in sizes:
        return None
    shape = ConvShape(
        in_channels=channels,
        out_channels=sizes[0] or 0,
        kernel=tuple(s or 0 for s in sizes[2:]),
        strides=tuple(int(s) for s in attrs.strides),
        dilations=tuple(int(d) for d in attrs.dilation),
        pads_begin=tuple(pads[:rank]),
        pads_end=tuple(pads[rank:]),
        groups=int(attrs.groups),
    )
    y = _tiled_conv(builder, x, weight, shape, _dtype(call), machine, pack)
    if layouts[0] == "NC" + spatial:
        return y
    return _permute(builder, builder.emit(y), "NC" + spatial, layouts[0])


def emit_transposed_conv(
    builder: Any, call: Any, machine: Machine, *, pack: bool = True
) -> Any | None:
    """Emit a transposed convolution with constant weights as a convolution.

    Zeros are put between the pixels of the input, which is then padded and convolved::

        x  a b c  ──stride 2──▶  a 0 b 0 c  ──pad k - 1 - p, kernel reversed──▶  y

    Args:
        builder: The block builder of the function.
        call: The op, with data [N, C, …] and weights [C, O / groups, …].
        machine: The machine that tile sizes are chosen for.
        pack: Lay the weights out at compile time; False: at run time.

    Returns:
        The call, or None for layouts and shapes that the kernel does not support.
    """
    x, weight = call.args
    attrs = call.attrs
    spatial = "DHW"[3 - (len(_dims(x)) - 2) :]
    values = _constant(weight)
    channels = extent_of(_dims(x)[1])
    layouts = (str(attrs.data_layout), str(attrs.kernel_layout), str(attrs.out_layout))
    if values is None or channels is None:
        return None
    if layouts != ("NC" + spatial, "IO" + spatial, "NC" + spatial):
        return None
    rank, groups = len(spatial), int(attrs.groups)
    kernel, dilations = values.shape[2:], [int(d) for d in attrs.dilation]
    pads, extra = [int(p) for p in attrs.padding], [int(p) for p in attrs.output_padding]
    strides = [int(s) for s in attrs.strides]
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    begin = [r - p for r, p in zip(reach, pads[:rank], strict=True)]
    end = [r - p + e for r, p, e in zip(reach, pads[rank:], extra, strict=True)]
    if min(begin + end) < 0:
        return None
    ones = (1,) * rank
    shape = ConvShape(
        in_channels=channels,
        out_channels=values.shape[1] * groups,
        kernel=tuple(kernel),
        strides=ones,
        dilations=tuple(dilations),
        pads_begin=tuple(begin),
        pads_end=tuple(end),
        groups=groups,
    )
    if pack:
        turned = _instead(values, turn_weight(values, shape))
    else:
        turn = partial(turn_weight_te, shape=shape)
        turned = builder.emit(builder.call_te(turn, weight, primfunc_name_hint="turn"))
    if any(s > 1 for s in strides):
        spread = partial(topi.nn.dilate, strides=[1, 1, *strides], name="dilate")
        x = builder.emit(builder.call_te(spread, x, primfunc_name_hint="dilate"))
    return _tiled_conv(builder, x, turned, shape, _dtype(call), machine, pack)


def _tiled_conv(
    builder: Any,
    x: Any,
    weight: Any,
    shape: ConvShape,
    out_dtype: str,
    machine: Machine,
    pack: bool,
) -> Any:
    """Call `kernels.conv` on channel-major operands."""
    lanes = machine.lanes("float32")
    batch, channels, *space = _dims(x)
    sizes = [extent_of(d) for d in space]
    view: tuple[int, ...] | None = None
    tile: Tile | None = None
    if shape.pointwise and len(space) > 1 and None not in sizes:
        view = tuple(s or 0 for s in sizes)
        tile = choose_tile(shape, prod(view), lanes, machine.registers, row=view[-1])
    values = _constant(weight) if pack else None
    if tile is not None and view is not None:
        one = (1,)
        flat = ConvShape(
            shape.in_channels, shape.out_channels, one, one, one, (0,), (0,), shape.groups
        )
        x = builder.emit(relax.op.reshape(x, [batch, channels, prod(view)]))
        if values is None:
            weight = builder.emit(relax.op.reshape(weight, [*_dims(weight)[:2], 1]))
        else:
            values = values.reshape(*values.shape[:2], 1)
        shape = flat
    else:
        view = None
        row = extent_of(shape.output(space)[-1])
        tile = choose_tile(shape, row, lanes, machine.registers)
        assert tile is not None  # only flattened rows can be refused
    if values is not None:
        weight = _instead(values, pack_weight(values, shape, tile, lanes))
    compute = partial(
        conv,
        shape=shape,
        tile=tile,
        lanes=lanes,
        dtype=_sum_dtype(out_dtype),
        out_dtype=out_dtype,
        packed=values is not None,
        view=view,
    )
    return builder.call_te(compute, x, weight, primfunc_name_hint="conv", primfunc_attrs=_FUSABLE)


def _permute(builder: Any, x: Any, source: str, target: str, *, fold: bool = True) -> Any:
    """`x` with its axes, named by the letters of `source`, in the order of `target`."""
    if source == target:
        return x
    axes = [source.index(letter) for letter in target]
    values = _constant(x) if fold else None
    if values is not None:
        return _instead(values, np.ascontiguousarray(values.transpose(axes)))
    turn = partial(topi.transpose, axes=axes)
    return builder.emit(builder.call_te(turn, x, primfunc_name_hint="transpose"))


def emit_matmul(builder: Any, call: Any, machine: Machine, *, pack: bool = True) -> Any | None:
    """Emit a matrix product as `byoc.tir.kernels.matmul`.

    Args:
        builder: The block builder of the function.
        call: The op.
        machine: What tiles are chosen for.
        pack: Lay a constant right side out at compile time.

    Returns:
        The call, or None for vectors, which TOPI serves.

    """
    a, b = call.args
    if min(len(_dims(a)), len(_dims(b))) < 2:
        return None
    *batch, rows, depth = _dims(a)
    sizes = [extent_of(d) for d in (*batch, rows)]
    flatten = len(_dims(b)) == 2 and bool(batch) and None not in sizes
    view, unit = None, None
    if flatten:
        view, unit = [s for s in sizes if s is not None], sizes[-1]
        rows = prod(view)
        a = builder.emit(relax.op.reshape(a, [rows, depth]))
    lanes = machine.lanes("float32")
    width = extent_of(_dims(b)[-1])
    tile = mm.choose_tile(extent_of(rows), width, lanes, machine.registers, unit)
    values = _constant(b) if pack else None
    if values is not None:
        b = _instead(values, mm.pack_columns(values, tile.columns))
    out_dtype = _dtype(call)
    return builder.call_te(
        partial(
            mm.matmul,
            tile=tile,
            lanes=lanes,
            dtype=_sum_dtype(out_dtype),
            out_dtype=out_dtype,
            packed=None if values is None else width,
            copy=len(_dims(b)) == 2 and (extent_of(rows) or 64) > 2 * tile.rows,
            view=view,
        ),
        a,
        b,
        primfunc_name_hint="matmul",
        primfunc_attrs=_FUSABLE,
    )


def emit_softmax(builder: Any, call: Any, machine: Machine, *, log: bool) -> Any | None:
    """Emit softmax over the last axis as a row kernel; None for other axes, which are TOPI's.

    Args:
        builder: The block builder of the function.
        call: The op.
        machine: Whose vectors are used.
        log: Emit its logarithm.

    """
    (x,) = call.args
    if not _row_kernel_fits(x, [call.attrs.axis]):
        return None
    compute = partial(rows.softmax, lanes=machine.lanes("float32"), log=log)
    if _dtype(x) == "bfloat16":
        # Observed with TVM 0.27: with the conversions inside the kernel the numbers are wrong, with
        # kernels of their own they are right. Why was not found out.
        x = builder.emit(builder.call_te(topi.cast, x, "float32", primfunc_name_hint="cast"))
        y = builder.emit(builder.call_te(compute, x, primfunc_name_hint="softmax"))
        return builder.call_te(topi.cast, y, "bfloat16", primfunc_name_hint="cast")
    return builder.call_te(compute, x, primfunc_name_hint="softmax", primfunc_attrs=_FUSABLE)


def emit_layer_norm(builder: Any, call: Any, machine: Machine) -> Any | None:
    """Emit a layer normalisation over the last axis as a kernel that works row by row.

    Args:
        builder: The block builder of the function.
        call: The op.
        machine: The machine whose vector length is used.

    Returns:
        The call, or None for other axes or dtypes, or without scale and centre.
    """
    attrs = call.attrs
    if not (_row_kernel_fits(call.args[0], attrs.axes) and attrs.center and attrs.scale):
        return None
    compute = partial(rows.layer_norm, lanes=machine.lanes("float32"), eps=float(attrs.epsilon))
    return builder.call_te(
        compute, *call.args, primfunc_name_hint="layer_norm", primfunc_attrs=_FUSABLE
    )


def emit_rms_norm(builder: Any, call: Any, machine: Machine) -> Any | None:
    """Emit a root-mean-square normalisation over the last axis as a kernel that works row by row.

    Args:
        builder: The block builder of the function.
        call: The op.
        machine: The machine whose vector length is used.

    Returns:
        The call, or None for other axes or dtypes.
    """
    attrs = call.attrs
    if not _row_kernel_fits(call.args[0], attrs.axes):
        return None
    compute = partial(rows.rms_norm, lanes=machine.lanes("float32"), eps=float(attrs.epsilon))
    return builder.call_te(
        compute, *call.args, primfunc_name_hint="rms_norm", primfunc_attrs=_FUSABLE
    )


def _row_kernel_fits(x: Any, axes: Any) -> bool:
    """True for at least two axes, only the last one reduced, and floating numbers."""
    dims = _dims(x)
    reduced = [int(axis) % len(dims) for axis in axes]
    fits = reduced == [len(dims) - 1] and len(dims) > 1
    return fits and _dtype(x) in ("float32", "float16", "bfloat16")


def _sum_dtype(dtype: str) -> str:
    """Half precision is summed in single precision."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype
