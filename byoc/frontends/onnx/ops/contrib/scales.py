"""Integers that stand for reals: ``real = (integer - zero) · scale``, as a node's inputs say it."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from byoc.frontends.helpers import axes_of, const, dtype_of, is_int
from byoc.frontends.onnx.context import OnnxContext, RefusedError
from byoc.ir.arrays import to_numpy

__all__ = [
    "constant_scale",
    "dequantized",
    "is_one",
    "one_or_vector",
    "quantized",
    "scale_and_zero",
]

op = relax.op


def is_one(value: Any) -> bool:
    """True for a tensor of one element."""
    return all(is_int(d) and int(d) == 1 for d in value.ty.shape.values)


def one_or_vector(value: Any, what: str) -> Any:
    """A scale or zero point as a number (one element, of any rank) or a vector.

    Args:
        value: The input.
        what: What it is for the operator, for the message.

    Raises:
        RefusedError: It has more dimensions, or nobody knows how many.
    """
    shape = getattr(value.ty, "shape", None)
    if not isinstance(shape, relax.ShapeExpr):
        raise RefusedError(f"the shape of {what} is not known")
    if shape.values and is_one(value):
        if isinstance(value, GenericConst):
            return const(to_numpy(value.value).reshape(()))
        return op.reshape(value, ())
    dims = [int(d) if is_int(d) else str(d) for d in shape.values]
    if len(dims) > 1 or not all(isinstance(d, int) and d for d in dims):
        raise RefusedError(f"{what} has the shape {dims}; legal is one number, or one per channel")
    return value


def scale_and_zero(
    c: OnnxContext, data: Any, scale: Any, zero: Any, axis: int, dtype: str, name: str
) -> tuple[Any, Any]:
    """Scale and zero point, typed, which fit each other and the tensor.

    Args:
        c: The operator's context.
        data: The tensor, integers or reals.
        scale: One, or one for each element along `axis`.
        zero: As many zero points; None for 0.
        axis: The axis of several scales.
        dtype: The type of the integers.
        name: What the operator calls the tensor, for messages.

    Raises:
        RefusedError: They do not fit.
    """
    if scale is None:
        raise RefusedError(f"the scale of {name} is missing")
    scale = c.typed(one_or_vector(scale, f"the scale of {name}"))
    if zero is None:
        zero = const(np.zeros([int(d) for d in scale.ty.shape.values], dtype))
    zero = c.typed(one_or_vector(zero, f"the zero point of {name}"))
    if not dtype_of(scale).startswith(("float", "bfloat")):
        raise RefusedError(f"the scale of {name} is of {dtype_of(scale)}, it must be a float")
    if dtype_of(zero) != dtype:
        raise RefusedError(
            f"the zero point of {name} is of {dtype_of(zero)}, but its integers are {dtype}"
        )
    sizes = {v.ty.ndim and int(v.ty.shape.values[0]) for v in (scale, zero)}
    if len(sizes) == 2 and 0 in sizes and isinstance(zero, GenericConst) and not zero.ty.ndim:
        count = max(sizes)  # one zero point beside many scales
        zero = const(np.full(count, to_numpy(zero.value).item(), dtype))
    elif len(sizes) > 1:
        raise RefusedError(
            f"{name} has {max(1, *sizes)} scales or zero points beside {min(sizes) or 1}"
        )
    count = max(sizes)
    if count:
        (place,) = axes_of([axis], data.ty.ndim)
        length = data.ty.shape.values[place]
        if is_int(length) and int(length) != count:
            raise RefusedError(f"{name} has {count} scales for {int(length)} channels")
    return scale, zero


def dequantized(c: OnnxContext, data: Any, scale: Any, zero: Any, name: str, axis: int = 0) -> Any:
    """The reals that integers stand for, as one typed expression.

    Args:
        c: The operator's context.
        data: The integers.
        scale: One, or one for each element along `axis`.
        zero: Zero points, as many; None for 0.
        name: What the operator calls the tensor, for messages.
        axis: The axis of several scales.

    Raises:
        RefusedError: Scale and zero point do not fit each other, or the tensor.
    """
    scale, zero = scale_and_zero(c, data, scale, zero, axis, dtype_of(data), name)
    if dtype_of(scale) != "float32":
        raise ValueError(f"the scale of {name} is not float32")
    call = op.dequantize(c.typed(data), scale, zero, axis=axis, out_dtype="float32")
    return c.typed(call)


def quantized(c: OnnxContext, data: Any, scale: Any, zero: Any, dtype: str, name: str) -> Any:
    """The integers that stand for reals, rounded half to even and saturated.

    Args:
        c: The operator's context.
        data: The reals.
        scale: Their one scale.
        zero: The zero point; None for 0.
        dtype: The type of the integers.
        name: What the operator calls the tensor, for messages.

    Raises:
        RefusedError: Scale and zero point do not fit each other, or there are several.
    """
    data = c.typed(data)
    if zero is not None:
        dtype = dtype_of(zero)
    scale, zero = scale_and_zero(c, data, scale, zero, 0, dtype, name)
    if scale.ty.ndim:
        raise RefusedError(f"{name} has {int(scale.ty.shape.values[0])} scales; legal is one")
    if dtype_of(scale) != "float32":
        raise ValueError(f"the scale of {name} is not float32")
    return op.quantize(data, scale, zero, axis=0, out_dtype=dtype)


def constant_scale(value: Any, name: str) -> Any:
    """The array behind a scale or zero point, as one or a vector.

    Args:
        value: The input.
        name: What it is, for the message.

    Raises:
        ValueError: The model computes it.
    """
    if not isinstance(value, GenericConst):
        raise ValueError(f"{name} is computed by the model; byoc needs it as a constant")
    array = to_numpy(value.value)
    return array.reshape(()) if array.size == 1 else array
