"""What can be said of symbolic dimensions, and how an operand is held to what must be true.

Relax takes two dimensions for equal unless it can prove that they differ. What it takes for granted
becomes a `match_cast` here, which compares when the model runs and stays with the data: no pass can
drop it while the data is used. A condition is a dimension that is -1 where it does not hold::

    fit(b: [m, 2], {0: k})           b': [k, 2]         an error unless m == k
    hold(x: [n], n < 9)              x': [n]            an error unless n < 9
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import tvm
from tvm import relax, tirx

from byoc.frontends.helpers import is_int

__all__ = [
    "broadcast_dim",
    "broadcast_operand",
    "dims_of",
    "fit",
    "hold",
    "number",
    "product",
    "proved_equal",
    "proved_true",
    "repeat",
    "simplified",
]

_FAR = 1 << 40
"""No dimension is longer."""


def dims_of(expr: Any) -> list[Any] | None:
    """The dimensions of a typed tensor; None where not even their number is known."""
    shape = getattr(expr.ty, "shape", None)
    return list(shape.values) if isinstance(shape, relax.ShapeExpr) else None


def proved_equal(a: Any, b: Any) -> bool:
    """Whether two dimensions are equal for all values of their variables."""
    if is_int(a) and is_int(b):
        return int(a) == int(b)
    if not is_int(a) and not is_int(b) and a.same_as(b):
        return True
    return bool(tvm.sym.Analyzer().can_prove_equal(a, b))


def proved_true(builder: Any, condition: Any) -> bool:
    """Whether a condition holds for all lengths that its variables can have.

    Args:
        builder: The block builder; its `computed` variables are no lengths, but any number.
        condition: An expression of symbolic dimensions.
    """
    return bool(_analyzer(builder, condition).can_prove(condition))


def simplified(builder: Any, dim: Any) -> Any:
    """A dimension, or a place in one, as short as what is known of lengths makes it.

    Args:
        builder: The block builder; its `computed` variables are no lengths, but any number.
        dim: A number, or an expression of symbolic dimensions.
    """
    return dim if is_int(dim) else _analyzer(builder, dim).simplify(dim)


def _analyzer(builder: Any, expr: Any) -> Any:
    analyzer = tvm.sym.Analyzer()
    for variable in tirx.analysis.undefined_vars(expr):
        if variable not in builder.computed:
            analyzer.bind(variable, tvm.ir.Range(0, _FAR))
    return analyzer


def product(dims: Sequence[Any]) -> Any:
    """The number of elements of a shape."""
    return reduce(lambda a, b: a * b, dims, tirx.const(1, "int64"))


def fit(builder: Any, x: Any, wanted: Mapping[int, Any]) -> Any:
    """A tensor whose axes are known to have some lengths.

    Args:
        builder: The block builder.
        x: A typed tensor of known dimensions.
        wanted: Axis → its length.

    Returns:
        `x` where all lengths are the same in any case, or differ in any case: TVM refuses that.
    """
    dims = list(dims_of(x) or ())
    new = list(dims)
    for axis, want in wanted.items():
        both = is_int(dims[axis]) and is_int(want)
        if not both and not proved_equal(dims[axis], want):
            new[axis] = number(want)
    if all(a is b for a, b in zip(dims, new, strict=True)):
        return x
    return builder.match_cast(x, relax.TensorType(new, str(x.ty.dtype)))


def hold(builder: Any, x: Any, condition: Any) -> Any:
    """A tensor that is only there while a condition on dimensions holds.

    Args:
        builder: The block builder.
        x: A typed tensor of known dimensions.
        condition: An expression of symbolic dimensions.
    """
    if isinstance(condition, (bool, int, tirx.IntImm)) or proved_true(builder, condition):
        return x
    dims = dims_of(x) or []
    if not dims:
        row = builder.emit(relax.op.reshape(x, relax.ShapeExpr([1])))
        return builder.emit(relax.op.reshape(hold(builder, row, condition), relax.ShapeExpr([])))
    dtype = str(x.ty.dtype)
    held = [tirx.Select(condition, dims[0], tirx.const(-1, "int64")), *dims[1:]]
    cast = builder.match_cast(x, relax.TensorType(held, dtype))
    return builder.match_cast(cast, relax.TensorType(dims, dtype))


def broadcast_dim(dims: Sequence[Any]) -> Any:
    """The length that axes of several operands have together: the one that is not 1."""
    rest = [d for d in dims if not (is_int(d) and int(d) == 1)]
    if not rest:
        return tirx.const(1, "int64")
    numbers = [d for d in rest if is_int(d)]
    if numbers:
        return numbers[0]
    common = rest[0]
    for dim in rest[1:]:
        if not proved_equal(common, dim):
            common = _joint(common, dim)
    return common


def _joint(a: Any, b: Any) -> Any:
    """The length of two axes together that nobody knows to be equal.

    Of two variables it is the one that is not 1. An expression (``min(n, 512)``) is taken for the
    variable that it meets, or for 1: what it is then is checked, and nothing else is repeated.
    """
    for one, other in ((a, b), (b, a)):
        if isinstance(one, tirx.Select) and any(
            proved_equal(part, other) for part in (one.true_value, one.false_value)
        ):
            return one  # the other is part of it already
    if isinstance(a, tirx.Select) or isinstance(b, tirx.Select):
        # Choices of choices: TVM's simplifier takes minutes for a few of them.
        raise ValueError(
            "which of its operands is repeated is known only at run time, and depends on more than "
            f"two dimensions ({', '.join(_names(a, b))}); give equal ones one name, or sizes"
        )
    if isinstance(a, tirx.Var) and isinstance(b, tirx.Var):
        return tirx.Select(a == 1, b, a)
    return b if isinstance(b, tirx.Var) else a


def _names(*dims: Any) -> list[str]:
    """The variables of dimensions, by name."""
    return sorted({str(v.name) for dim in dims for v in tirx.analysis.undefined_vars(dim)})


def broadcast_operand(builder: Any, x: Any, wanted: Sequence[Any]) -> Any:
    """A tensor each of whose dimensions is 1, or what it is to be repeated to.

    Args:
        builder: The block builder.
        x: A typed tensor of known dimensions.
        wanted: What it is repeated to; at least as many dimensions.
    """
    dims = dims_of(x) or []
    lead = len(wanted) - len(dims)
    legal = {}
    for axis, (dim, want) in enumerate(zip(dims, wanted[lead:], strict=True)):
        if is_int(dim) or proved_equal(dim, want):
            if is_int(dim) and int(dim) != 1 and not is_int(want):
                legal[axis] = want  # a number against a variable
            continue
        if not _is_open(dim, want):
            legal[axis] = tirx.Select(dim == 1, tirx.const(1, "int64"), number(want))
    return fit(builder, x, legal)


def _is_open(dim: Any, want: Any) -> bool:
    """Whether a dimension is 1 or another one, by what it says."""
    return isinstance(dim, tirx.Select) and (
        is_int(dim.true_value) and int(dim.true_value) == 1 and proved_equal(dim.false_value, want)
    )


def repeat(builder: Any, x: Any, wanted: Sequence[Any]) -> Any:
    """A tensor repeated to other dimensions, known or checked to fit them."""
    dims = dims_of(x) or []
    if len(dims) == len(wanted) and all(map(proved_equal, dims, wanted)):
        return x
    x = broadcast_operand(builder, x, wanted)
    return builder.emit(relax.op.broadcast_to(x, relax.ShapeExpr([number(d) for d in wanted])))


def number(dim: Any) -> Any:
    """A dimension as an expression of TVM."""
    return tirx.const(dim, "int64") if isinstance(dim, int) else dim
