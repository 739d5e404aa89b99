"""Arguments of nodes that are no tensors, and dimensions: plain Python where TVM has objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import tvm
import tvm_ffi
from tvm import relax

from byoc.ir.decode import items

__all__ = ["Dims", "Leaf", "dims_of", "plain", "same_dims"]

Dims: TypeAlias = "tuple[Any, ...]"


@dataclass(frozen=True, eq=False)
class Leaf:
    """A non-tensor argument: a shape, a number, a dtype, a function."""

    expr: Any


def dims_of(ty: Any) -> Dims | None:
    """Dimensions of a type as ints, or TVM expressions where symbolic; None when not known."""
    shape = getattr(ty, "shape", None)
    if shape is None or not isinstance(shape, relax.ShapeExpr):
        return None
    return tuple(_dim(d) for d in items(shape.values))


def plain(arg: Any) -> Any:
    """Python value of a non-tensor argument; symbolic dimensions stay TVM expressions."""
    if isinstance(arg, tuple):
        return tuple(plain(a) for a in arg)
    expr = arg.expr
    if isinstance(expr, relax.ShapeExpr):
        return tuple(_dim(d) for d in expr.values)
    if isinstance(expr, (tvm.tirx.IntImm, tvm.tirx.FloatImm, tvm.ir.StringImm)):
        return expr.value
    return expr


def same_dims(a: Dims | None, b: Dims | None) -> bool:
    """Tell whether two shapes are known and equal, symbolic dimensions included.

    Args:
        a: One shape, or None when it is not known.
        b: The other.
    """
    if a is None or b is None or len(a) != len(b):
        return False
    return all(_same_dim(x, y) for x, y in zip(a, b, strict=True))


def _same_dim(a: Any, b: Any) -> bool:
    if isinstance(a, int) or isinstance(b, int):
        return isinstance(a, int) and isinstance(b, int) and a == b
    return bool(a.same_as(b)) or bool(tvm_ffi.structural_equal(a, b))


def _dim(d: Any) -> Any:
    return int(d) if isinstance(d, tvm.tirx.IntImm) else d
