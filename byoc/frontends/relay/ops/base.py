"""What converters share.

A converter takes (context, the call's arguments…, *, attributes…): its positional parameters are
Relay's arguments, its keyword parameters Relay's attributes with Relay's defaults. It returns one
Relax expression, or a tuple of them. Anything it raises becomes an error at the call's place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst

from byoc.frontends.normalise.fold import fold_expression
from byoc.frontends.normalise.tensors import from_numpy, to_numpy, transposed
from byoc.segment import Array

__all__ = [
    "MAX_ELEMENTS",
    "Array",
    "Context",
    "Converter",
    "array_of",
    "axes_of",
    "const",
    "dims",
    "dtype_of",
    "integers",
    "inverse",
    "is_const",
    "letters",
    "limited",
    "list_of",
    "rank",
    "scalar_like",
    "static_dims",
    "transpose",
    "unless",
]

Converter: TypeAlias = Callable[..., Any]

MAX_ELEMENTS = 1 << 44
"""Elements of one tensor: more than any machine holds."""

MAX_MADE = 1 << 26
"""Elements of a constant that a converter writes itself."""


@dataclass
class Context:
    """What a converter may use. builder: to give new expressions a type."""

    builder: Any

    def typed(self, expr: Any) -> Any:
        """The expression with its type; a constant where it can be computed now."""
        if is_const(expr) or isinstance(expr, relax.Var):
            return expr
        folded = fold_expression(expr, lambda var: None)
        return self.builder.normalize(expr) if folded is None else const(folded)


def const(array: Any, dtype: Any = None) -> Any:
    """A constant of an array."""
    return relax.const(from_numpy(np.asarray(array, dtype)))


def is_const(value: Any) -> bool:
    """True for a constant tensor."""
    return isinstance(value, GenericConst)


def array_of(value: Any, what: str) -> Array:
    """The array behind a constant; ValueError for a value that the model computes."""
    if not is_const(value):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return to_numpy(value.value)


def scalar_like(value: float, like: Any) -> Any:
    """A constant scalar of the dtype of `like`."""
    return relax.const(value, dtype_of(like))


def dtype_of(value: Any) -> str:
    """Element type of a typed expression."""
    return str(value.ty.dtype)


def dims(value: Any) -> list[Any]:
    """Dimensions of a typed expression: ints, or TVM expressions where symbolic."""
    shape = getattr(value.ty, "shape", None)
    if shape is None:
        raise ValueError(f"the shape of an argument is not known, its type is {value.ty}")
    return [int(d) if isinstance(d, tirx.IntImm) else d for d in shape]


def static_dims(value: Any) -> list[int]:
    """Dimensions, all known."""
    found = dims(value)
    if not all(isinstance(d, int) for d in found):
        raise ValueError(f"it needs a static shape, found {found}")
    return found


def rank(value: Any) -> int:
    """Number of dimensions."""
    return len(dims(value))


def unless(given: Any, default: Any) -> Any:
    """`given`, or the default where it is None or empty."""
    return default if given is None or given == "" or given == [] else given


def integers(value: Any, count: int, what: str) -> list[int]:
    """A list of `count` ints, from one or several."""
    found = [value] * count if isinstance(value, int) else [int(v) for v in value]
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise ValueError(f"{what} must hold {count} numbers, found {found}")
    return found


def axes_of(axes: Any, count: int) -> list[int]:
    """Axes counted from the front; ValueError when they do not fit `count` dimensions."""
    given = [axes] if isinstance(axes, int) else list(axes)
    out = [int(a) + count if int(a) < 0 else int(a) for a in given]
    if any(not 0 <= a < count for a in out) or len(set(out)) != len(out):
        raise ValueError(f"axes {given} do not fit {count} dimensions")
    return out


def list_of(value: Any, what: str) -> list[Any]:
    """A shape or list: an attribute, or a constant tensor."""
    if is_const(value):
        return [int(v) for v in array_of(value, what).reshape(-1)]
    if isinstance(value, (int, str)):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{what} is computed by the model; byoc needs it as a constant")
    return [None if v is None else int(v) for v in value]


def letters(layout: Any, expected: str, what: str) -> list[int]:
    """Where each letter of `expected` stands in a layout: ``NHWC`` for ``NCHW`` is 0, 3, 1, 2."""
    if sorted(str(layout)) != sorted(expected):
        raise ValueError(f"{what} {layout!r}; byoc reads permutations of {expected}")
    return [str(layout).index(letter) for letter in expected]


def transpose(value: Any, axes: Sequence[int]) -> Any:
    """The value with permuted dimensions; constants at once."""
    order = list(axes)
    if order == list(range(len(order))):
        return value
    if is_const(value):
        return const(transposed(to_numpy(value.value), tuple(order)))
    return relax.op.permute_dims(value, order)


def inverse(axes: Sequence[int]) -> list[int]:
    """The permutation that undoes one."""
    return [list(axes).index(i) for i in range(len(axes))]


def limited(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a constant to make now; ValueError when it is too large for that."""
    found = tuple(int(d) for d in shape)
    if min(found, default=0) < 0 or math.prod(found) > MAX_MADE:
        raise ValueError(f"a constant of shape {found}")
    return found
