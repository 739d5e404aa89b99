"""Operands that data can get wrong: indices outside their axis, whole divisors of 0.

In: a kernel's index or divisor. Out: a copy of it, made by a kernel that ends the call with a named
error where an element is not legal; so what follows needs no guard of its own::

    y = take(x, i)      ──▶     j = checked(i)     error unless -n <= i < n; i + n for i < 0
                                y = take(x, j)

The copy is one pass over the operand at the speed of memory, in parallel where it is long. Constant
operands are looked at when the model is compiled; only those with an illegal element are checked
again when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import GenericConst
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as script

from byoc.ir.arrays import from_numpy
from byoc.tir.schedule.kernel import extent_of

__all__ = ["Axis", "Emit", "checked_divisor", "checked_index", "is_whole"]

Emit = Callable[[Any], Any]

_OPAQUE = {"op_pattern": 8}  # a program: fused, it would keep its neighbours from being scheduled

_CHUNK = 1 << 12  # elements that a task of a parallel check looks at


@dataclass(frozen=True)
class Axis:
    """What an index points into.

    Attributes:
        number: The axis of the data, for the message.
        size: Its length, symbolic or not.

    """

    number: int
    size: Any

    @property
    def where(self) -> str:
        """The axis in words."""
        known = extent_of(self.size)
        return f"axis {self.number}" + ("" if known is None else f" of size {known}")


def is_whole(expr: Any) -> bool:
    """Return whether a tensor has whole numbers, signed or not."""
    return str(expr.ty.dtype).startswith(("int", "uint"))


def checked_index(
    builder: Any,
    emit: Emit,
    op: str,
    indices: Any,
    axes: Sequence[Axis | None],
    *,
    from_end: bool,
    also: int | None = None,
) -> Any:
    """Make a copy of an index tensor whose elements are known to lie inside their axes.

    Args:
        builder: The block builder of the function.
        emit: Binds an expression to a variable.
        op: Name of the op that looks up, for the message.
        indices: Tensor of numbers; with several axes, its last dimension holds one index for each.
        axes: What the indices point into; None for an element that is no index.
        from_end: Negative indices count from the end of the axis, and are made positive; else they
            are illegal.
        also: One more legal value, copied as it is.

    Returns:
        The copy, or `indices` where it is constant, legal and has nothing to make positive.

    """
    known = [axis for axis in axes if axis is not None]
    if isinstance(indices, GenericConst) and also is None and len(known) == len(axes):
        legal = _legal_constant(indices, known, from_end=from_end)
        if legal is not None:
            return legal
    dtype = str(indices.ty.dtype)
    signed, whole = not dtype.startswith("uint"), is_whole(indices)
    texts = [
        None if axis is None else _index_text(op, axis, from_end=from_end and signed)
        for axis in axes
    ]

    def one(value: Any, size: Any) -> tuple[Any, Any]:
        if not whole:  # NaN is not legal either
            low, high = tirx.const(0, dtype), size.astype(dtype)
            return tirx.all(value >= low, value < high), value
        wide = value.astype("int64")
        least = tirx.const(0, "int64") - size if from_end else tirx.const(0, "int64")
        legal = tirx.all(wide >= least, wide < size) if signed else wide < size
        wrapped = tirx.Select(wide < 0, wide + size, wide) if from_end and signed else wide
        if also is not None:
            other = wide == tirx.const(also, "int64")
            legal, wrapped = tirx.any(legal, other), tirx.Select(other, wide, wrapped)
        return legal, wrapped.astype(dtype)

    kernel = _checking(one, texts, len(axes))
    return _emit(
        builder,
        emit,
        kernel,
        indices,
        [1 if axis is None else axis.size for axis in axes],
        "check_index",
    )


def checked_divisor(builder: Any, emit: Emit, op: str, divisor: Any) -> Any:
    """Make a copy of a tensor of whole numbers none of whose elements is 0.

    Args:
        builder: The block builder of the function.
        emit: Binds an expression to a variable.
        op: Name of the op that divides, for the message.
        divisor: Tensor of whole numbers.

    Returns:
        The copy, or `divisor` where it is constant and has no 0.

    """
    if isinstance(divisor, GenericConst) and np.from_dlpack(divisor.value).all():
        return divisor
    zero = tirx.const(0, str(divisor.ty.dtype))
    text = f"{op}: division of a whole number by 0; the divisor must not have a 0 in it"

    def one(value: Any, _: Any) -> tuple[Any, Any]:
        return value != zero, value

    kernel = _checking(one, [text], 1)
    return _emit(builder, emit, kernel, divisor, [1], "check_divisor")


def _legal_constant(indices: Any, axes: Sequence[Axis], *, from_end: bool) -> Any | None:
    """The constant with nothing negative in it; None where an element may be illegal."""
    sizes = [extent_of(axis.size) for axis in axes]
    if None in sizes:
        return None
    values, limits = np.from_dlpack(indices.value), np.array(sizes, np.int64)
    if not values.size or (values.min() >= 0 and (values < limits).all()):
        return indices
    if not from_end or (values < -limits).any() or (values >= limits).any():
        return None
    return relax.const(
        from_numpy(np.where(values < 0, values + limits, values).astype(values.dtype))
    )


def _index_text(op: str, axis: Axis, *, from_end: bool) -> str:
    known = extent_of(axis.size)
    end = "size - 1" if known is None else str(known - 1)
    start = ("-size" if known is None else str(-known)) if from_end else "0"
    legal = "none, the axis is empty" if known == 0 else f"{start} to {end}"
    return f"{op}: an index lies outside {axis.where}; legal: {legal}"


def _emit(
    builder: Any, emit: Emit, kernel: Callable[..., Any], x: Any, sizes: list[Any], hint: str
) -> Any:
    scalar = not x.ty.shape.values
    if scalar:
        x = emit(relax.op.reshape(x, [1]))
    y = builder.call_te(kernel, x, sizes, primfunc_name_hint=hint, primfunc_attrs=_OPAQUE)
    return relax.op.reshape(emit(y), []) if scalar else y


def _checking(
    one: Callable[[Any, Any], tuple[Any, Any]], texts: Sequence[str | None], width: int
) -> Callable[[te.Tensor, list[Any]], te.Tensor]:
    """A tensor expression that copies what is legal and raises where something is not.

    Args:
        one: (element, size) → whether it is legal, and what is copied.
        texts: The error of each of the `width` elements that lie side by side; None for no check.
        width: Elements of a row; all rows are alike.

    """

    def program(source: Any, target: Any, sizes: list[Any]) -> Any:
        source, target = script.buffer_proxy(source), script.buffer_proxy(target)
        total = reduce(lambda a, b: a * b, source.shape, tirx.const(1, "int64"))
        rows = tirx.floordiv(total, tirx.const(width, "int64"))
        count = extent_of(rows)
        chunk = tirx.const(max(1, _CHUNK // width), "int64")

        def check(first: Any, number: Any) -> None:
            # No branch for each element, so that LLVM makes vectors of the loop.
            bad = script.buffer_proxy(script.alloc_buffer([width], "int32", scope="local"))
            for k in range(width):
                bad[k] = tirx.const(0, "int32")
            with script.serial(0, number) as row:
                for k, text in enumerate(texts):
                    place = (first + row) * width + k
                    if text is None:
                        target[place] = source[place]
                        continue
                    known = extent_of(sizes[k])
                    size = sizes[k].astype("int64") if known is None else tirx.const(known, "int64")
                    legal, target[place] = one(source[place], size)
                    bad[k] = bad[k] | tirx.Not(legal).astype("int32")
            for k, text in enumerate(texts):
                if text is not None:
                    with script.Assert(bad[k] == 0, text):
                        script.evaluate(0)

        with IRBuilder() as ib:
            short = count is not None and count <= _CHUNK
            tasks = 1 if short else tirx.floordiv(rows + chunk - 1, chunk)
            with (script.serial if short else script.parallel)(0, tasks) as task:
                check(task * chunk, rows if short else tirx.min(chunk, rows - task * chunk))
            return ib.get()

    def compute(x: te.Tensor, sizes: list[Any]) -> te.Tensor:
        out = tirx.decl_buffer(x.shape, x.dtype, "checked", layout=None)
        return te.extern(
            [x.shape],
            [x],
            lambda ins, outs: program(ins[0], outs[0], sizes),
            dtype=x.dtype,
            out_buffers=[out],
            name="checked",
            tag="checked",
        )

    return compute
